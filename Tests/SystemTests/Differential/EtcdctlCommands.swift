// The command lines of etcdctl that are run against etcd and against a node, by what they are about.

enum EtcdctlCommands {
  static let puts = """
    *put a 1
    *put a 2 --prev-kv
    put a/1 one
    put a/2 two
    put b x
    put b y
    put c | from standard input
    put c '' --prev-kv
    put '' x
    put a
    put a 1 2 3
    put a --ignore-value --prev-kv
    put missing --ignore-value
    put a value --ignore-value
    put a 3 --ignore-lease --prev-kv
    put missing 3 --ignore-lease
    put a 3 --lease=1 --ignore-lease
    put a 3 --lease=1234
    put a 3 --lease=nonsense
    put a 3 --nonsense
    put -- -a -3
    *get -- -a
    """

  static let gets = """
    *get a
    *get a --prefix
    *get a b
    *get a --from-key
    *get '' --prefix
    *get '' --from-key
    *get missing
    get a --prefix --from-key
    get a b c
    get
    get a --prefix --limit=2
    *get a --prefix --limit=1 -w json
    get a --prefix --order=DESCEND
    get a --prefix --order=ASCEND --sort-by=MODIFY
    get a --from-key --order=DESCEND --sort-by=VERSION
    get a --from-key --order=DESCEND --sort-by=CREATE
    get a --from-key --sort-by=VALUE
    get a --from-key --sort-by=KEY --order=DESCEND --limit=2
    get a --order=SIDEWAYS
    get a --sort-by=NONSENSE
    *get a --prefix --keys-only
    get a --prefix --print-value-only
    get a --print-value-only -w json
    *get a --prefix --hex
    get a --hex --print-value-only
    *get a --rev=2
    *get a --rev=99999
    get a --rev=-1
    get a --rev=3 --prefix
    get a --consistency=s
    get a --consistency=l -w json
    get a --consistency=x
    get a -w nonsense
    """

  static let deletions = """
    put d/1 1
    put d/2 2
    put d/3 3
    put d/4 4
    put d/5 5
    put d/6 6
    *del d/1 --prev-kv
    *del missing
    del d/2 d/4
    del d/4 --prefix --prev-kv
    del d/5 --from-key --prefix
    put z/1 1
    del z --from-key --prev-kv
    del
    del ''
    *get d --prefix
    """

  static let transactions = #"""
    put t 1
    *txn | value("t") = "1"\n\nput t 2\nget t\n\nput t never\n\n
    *txn | value("t") = "wrong"\n\nput t never\n\nget t\nget a --prefix\n\n
    txn | version("t") > "0"\nmod("t") > "1"\ncreate("t") != "0"\nlease("t") = "0"\n\nget t\n\n\n
    txn | mod("t") < "0"\n\n\nput t 3 --prev-kv\nget t\n\n
    txn -i | value("t") = "3"\n\ndel t --prev-kv\n\nput t 4\n\n
    txn | \n\n\n
    txn | \nput e 1\nput e 2\n\n\n
    txn | \nput e 1\ndel e\n\n\n
    txn | \nput e 1\nget e\ndel e/\n\n\n
    txn | \nput '' 1\n\n\n
    txn | nonsense\n\n\n\n
    txn | value("t") ~ "3"\n\n\n\n
    txn | \nget t --rev=99999\n\n\n
    txn | \nget 1\nget 2\nget 3\nget 4\nget 5\nget 6\nget 7\nget 8\nget 9\n\n\n
    txn with an argument
    """#

  static let compactions = """
    *compaction 3
    compaction 3
    compact 2
    compaction 4 --physical
    compaction 99999
    compaction nonsense
    compaction
    compaction 0
    *get a --rev=2
    get a --rev=4
    """

  static let leases = """
    *lease grant 1000
    lease grant 2000 => first
    lease grant 3000 => second
    put leased 1 --lease=$first
    put leased 2 --ignore-lease --prev-kv
    *lease timetolive $second
    *lease timetolive $first --keys
    *lease timetolive 1234
    lease timetolive nonsense
    lease timetolive
    *lease keep-alive $first --once
    lease keep-alive 1234 --once
    lease keep-alive 1234
    lease keep-alive nonsense
    get leased -w json
    *lease revoke $first
    lease revoke $first
    lease revoke nonsense
    lease revoke
    get leased --prefix
    lease grant
    lease grant nonsense
    lease grant -- -5
    lease grant 9000000001
    lease revoke $second -w json
    """

  /// One member, so that it leads and nobody else does.
  static let cluster = """
    *member list
    member list => first
    *member update $first --peer-urls=http://127.0.0.1:7
    member list
    member list with an argument
    *endpoint health
    endpoint health --cluster
    *endpoint status
    *endpoint status --cluster
    *endpoint hashkv
    *endpoint hashkv --cluster
    endpoint hashkv --rev=5 -w json
    endpoint hashkv --rev=99999
    *alarm list
    alarm disarm -w json
    defrag
    defrag --cluster
    move-leader
    move-leader nonsense
    move-leader 1234
    member add
    member add learner --learner
    member add learner --learner --peer-urls=nonsense
    member add learner --learner --peer-urls=ftp://127.0.0.1:9
    member add learner --learner --peer-urls=http://127.0.0.1:9 => learner
    ~member list
    ~member list -w fields
    member add learner --learner --peer-urls=http://127.0.0.1:9,http://127.0.0.1:8
    member add another --learner --peer-urls=http://127.0.0.1:8
    member promote $learner
    member update $learner --peer-urls=nonsense
    member update $learner
    member update 1234 --peer-urls=http://127.0.0.1:6
    member promote 1234
    member promote nonsense
    member remove 1234
    member remove nonsense
    member remove
    member remove $learner
    *member list
    member add learner --learner --peer-urls=http://127.0.0.1:7,http://127.0.0.1:6 => other
    *member remove $other
    """

  static let rest = """
    version
    version -w json
    nonsense
    lock
    elect
    watch
    make-mirror
    snapshot save
    completion
    """

  // MARK: Users and roles

  static let beforeAuthentication = """
    *user list
    *role list
    user add root:secret
    user add root:secret
    user add ann --new-user-password=secret
    user add ben --interactive=false | secret
    user add cat --no-password
    user add ''
    *user add dan:secret
    user get dan
    *user delete dan
    user delete dan
    *user get ann
    user get ann --detail
    *user get nobody
    user passwd ann --interactive=false | other
    user passwd nobody --interactive=false | other
    *role add reader
    role add writer
    role add root
    role add ''
    *role grant-permission reader read a
    *role grant-permission reader read a/ --prefix
    role grant-permission reader read x y
    role grant-permission writer readwrite w --from-key
    role grant-permission writer write v
    role grant-permission writer sometimes v
    role grant-permission nothing read v
    role grant-permission reader read
    *role get reader
    *role get writer
    *role get root
    role get nothing
    *role revoke-permission reader x y
    role revoke-permission reader x y
    role revoke-permission reader a/ --prefix
    role revoke-permission nothing x
    role get reader
    *user grant-role ann reader
    user grant-role ann nothing
    user grant-role nobody reader
    user grant-role ben writer
    user revoke-role ben reader
    *user revoke-role ben writer
    user grant-role ben writer
    user get ann --detail
    *user list
    *role list
    auth enable nonsense
    auth enable
    user grant-role root root
    put a 1
    """

  static let withAuthentication = """
    auth enable
    get a
    get a --user=ann
    get a --user=ann:secret
    get a --user=ann:other
    get a --user=ann --password=other
    *get a --user=ann:other
    get a b --user=ann:other
    put a 2 --user=ann:other
    put w/1 2 --user=ben:secret
    get w/1 --user=ben:secret
    put v 2 --user=ben:secret
    get v --user=ben:secret
    del w --from-key --user=ben:secret
    get a --user=nobody:secret
    get a --user=cat:secret
    get '' --prefix --user=root:secret
    txn --user=ann:other | value("a") = "1"\\n\\nget a\\n\\nput a 3\\n\\n
    txn --user=ann:other | value("w") = "1"\\n\\nget a\\n\\n\\n
    lease grant 1000 --user=ann:other => lease
    put w/2 2 --user=ben:secret --lease=$lease
    lease revoke $lease --user=ann:other
    lease timetolive $lease --keys --user=ben:secret
    lease list --user=root:secret
    member list --user=ann:other
    endpoint status --user=ann:other
    endpoint health --user=ann:other
    alarm list --user=ann:other
    alarm list --user=root:secret
    defrag --user=root:secret
    user list --user=ann:other
    user get ann --user=ann:other
    user get ben --user=ann:other
    role get reader --user=ann:other
    role get writer --user=ann:other
    role list --user=ann:other
    user list
    user list --user=root:secret
    user delete root --user=root:secret
    role delete root --user=root:secret
    role delete reader --user=ann:other
    *role delete reader --user=root:secret
    get a --user=ann:other
    user revoke-role root root --user=root:secret
    user passwd ben --interactive=false --user=root:secret | changed
    get w/2 --user=ben:secret
    get w/2 --user=ben:changed
    auth disable
    auth disable --user=ann:other
    auth disable --user=root:secret
    auth disable
    get a
    get a --user=ann:other
    """
}
