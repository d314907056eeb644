// Users, roles and permissions with real nodes: etcdctl's commands, tokens on other nodes and after restarts, and every
// service that refuses what a user may not do.

import Foundation
import NIOCore
import Protocol
import Testing
import Wire

@Suite("users and roles", .serialized)
struct AuthTests {
  @Test(
    "etcdctl makes users and roles, enables authentication and works as a user", .enabled(if: Clients.etcdctl != nil))
  func etcdctl() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    let etcdctl = Etcdctl(endpoints: nodes.endpoints)
    #expect(try await etcdctl.run("auth", "enable").errors.contains("root user does not exist"))
    for user in ["root", "ann", "bob"] {
      #expect(try await etcdctl.output("user", "add", "\(user):\(user)-1") == "User \(user) created")
    }
    #expect(try await etcdctl.run("user", "add", "ann:x").errors.contains("etcdserver: user name already exists"))
    #expect(try await etcdctl.output("role", "add", "fruit") == "Role fruit created")
    _ = try await etcdctl.output("role", "grant-permission", "fruit", "readwrite", "--prefix", "fruit/")
    _ = try await etcdctl.output("role", "grant-permission", "fruit", "read", "shared")
    _ = try await etcdctl.output("user", "grant-role", "ann", "fruit")
    #expect(try await etcdctl.output("auth", "enable") == "Authentication Enabled", "it grants root its role itself")
    let denied = try await etcdctl.run("get", "fruit/a")
    #expect(denied.errors.contains("etcdserver: user name is empty"), "\(denied.errors)")
    try await asUser(etcdctl)
    try await asRoot(etcdctl)
    await nodes.stop()
  }

  private func asUser(_ etcdctl: Etcdctl) async throws {
    let ann = "--user=ann:ann-1"
    #expect(try await etcdctl.output(ann, "put", "fruit/a", "1") == "OK")
    #expect(try await etcdctl.output(ann, "get", "fruit/", "--prefix", "--print-value-only") == "1")
    #expect(try await etcdctl.output(ann, "get", "shared") == "")
    for refused in [["put", "shared", "1"], ["get", "other"], ["get", "", "--prefix"], ["del", "fruit/", "shared"]] {
      let outcome = try await etcdctl.run([ann] + refused)
      #expect(outcome.exitCode != 0 && outcome.errors.contains("etcdserver: permission denied"), "\(refused)")
    }
    for refused in [
      ["user", "add", "x:y"], ["role", "list"], ["member", "remove", "1"], ["compact", "1"], ["defrag"],
    ] {
      let outcome = try await etcdctl.run([ann] + refused)
      #expect(outcome.exitCode != 0 && outcome.errors.contains("etcdserver: permission denied"), "\(refused)")
    }
    #expect(try await etcdctl.output(ann, "user", "get", "ann").contains("Roles: fruit"))
    #expect(try await etcdctl.output(ann, "role", "get", "fruit").contains("[fruit/, fruit0) (prefix fruit/)"))
    let wrong = try await etcdctl.run("--user=ann:nonsense", "get", "fruit/a")
    #expect(wrong.errors.contains("authentication failed, invalid user ID or password"), "\(wrong.errors)")
  }

  private func asRoot(_ etcdctl: Etcdctl) async throws {
    let root = "--user=root:root-1"
    #expect(try await etcdctl.output(root, "user", "list") == "ann\nbob\nroot")
    #expect(try await etcdctl.output(root, "role", "list") == "fruit\nroot")
    #expect(try await etcdctl.output(root, "member", "list").split(separator: "\n").count == 3)
    #expect(try await etcdctl.output(root, "get", "", "--prefix", "--keys-only").contains("fruit/a"))
    let passwd = try etcdctl.start(root, "user", "passwd", "ann", "--interactive=false")
    try passwd.write("ann-2\n")
    try passwd.closeInput()
    #expect(await passwd.exitCode() == 0, "\(passwd.errors)")
    #expect(try await etcdctl.run("--user=ann:ann-1", "get", "fruit/a").exitCode != 0)
    #expect(try await etcdctl.output("--user=ann:ann-2", "get", "fruit/a") == "fruit/a\n1")
    _ = try await etcdctl.output(root, "role", "revoke-permission", "fruit", "fruit/", "--prefix")
    #expect(try await etcdctl.run("--user=ann:ann-2", "get", "fruit/a").errors.contains("permission denied"))
    _ = try await etcdctl.output(root, "user", "revoke-role", "ann", "fruit")
    #expect(
      try await etcdctl.run(root, "user", "revoke-role", "ann", "fruit").errors.contains(
        "etcdserver: role is not granted to the user"))
    _ = try await etcdctl.output(root, "role", "delete", "fruit")
    _ = try await etcdctl.output(root, "user", "delete", "bob")
    #expect(
      try await etcdctl.run(root, "user", "delete", "root").errors.contains("etcdserver: invalid auth management"))
    #expect(try await etcdctl.output(root, "auth", "disable") == "Authentication Disabled")
    #expect(try await etcdctl.output("get", "fruit/a") == "fruit/a\n1")
  }

  @Test("a token of one node is known to the others, and to all after a restart and in a snapshot")
  func tokens() async throws {
    let nodes = try Nodes("--snapshot-count", "40", "--snapshot-log-percent", "0", "--snapshot-catchup-entries", "5")
    try await nodes.found("a", "b", "c")
    let root = try await AuthCalls(endpoint: nodes.client("a")).setUp(users: ["ann"])
    for step in 0..<30 {
      let ann = try await AuthCalls(endpoint: nodes.client(["a", "b", "c"][step % 3])).logIn("ann", "ann")
      for name in ["c", "a", "b"] {
        try await ann.at(nodes.client(name)).put("ann/\(step)")
        #expect(try await ann.at(nodes.client(name)).get("ann/\(step)", serializable: true).count == 1)
      }
      guard step == 20 else { continue }
      for name in ["a", "b", "c"] { await nodes.kill(name) }
      for name in ["a", "b", "c"] { try nodes.restart(name) }
      for name in ["a", "b", "c"] { try await nodes.ready(name) }
      for name in ["a", "b", "c"] { try await ann.at(nodes.client(name)).put("ann/after") }
      for name in ["a", "b", "c"] { try await nodes.wait(for: "portcullis_snapshot_index", of: name) { $0 > 0 } }
    }
    for name in ["a", "b", "c"] { try await root.at(nodes.client(name)).put("anywhere") }
    await expectRefusal(.unauthenticated, "invalid auth token") {
      try await AuthCalls(endpoint: nodes.client("b"), token: "abcdefghijklmnop.12").put("ann/x")
    }
    await expectRefusal(.unauthenticated, "invalid auth token") {
      try await AuthCalls(endpoint: nodes.client("b"), token: "abcdefghijklmnop.99999999").get("ann/x")
    }
    await nodes.stop()
  }

  @Test("a token lives while it is used, and ends when it is not")
  func lifetime() async throws {
    let nodes = try Nodes("--auth-token-ttl", "2", "--bcrypt-cost", "4")
    try await nodes.found("a")
    let calls = AuthCalls(endpoint: nodes.client("a"))
    _ = try await calls.setUp(users: ["ann"])
    let (used, unused) = (try await calls.logIn("ann", "ann"), try await calls.logIn("ann", "ann"))
    let end = ContinuousClock.now + .seconds(5)
    while ContinuousClock.now < end { try await used.put("ann/a") }
    await expectRefusal(.unauthenticated, "invalid auth token") { try await unused.put("ann/a") }
    try await used.put("ann/a")
    await nodes.stop()
  }

  @Test("a watch without permission is refused, one with permission sees what it may")
  func watches() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    _ = try await AuthCalls(endpoint: nodes.client("a")).setUp(users: ["ann"])
    // The token is newer than what the node may have applied.
    let ann = try await AuthCalls(endpoint: nodes.client("c")).logIn("ann", "ann").at(nodes.client("b"))
    try await withConnection(ann.endpoint) { connection in
      for (token, key, reason) in [
        (ann.token, "ann/a", ""),
        (ann.token, "ann1", "rpc error: code = PermissionDenied desc = etcdserver: permission denied"),
        (nil, "ann/a", "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"),
        ("nonsense", "ann/a", "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"),
      ] {
        let heard = StreamEnds(Etcdserverpb_WatchResponse.self)
        let metadata = token.map { [("token", $0)] } ?? []
        let stream = connection.openStream(RPCPath.Watch.watch, metadata: metadata, handler: heard)
        var request = Etcdserverpb_WatchRequest()
        request.createRequest.key = Data(key.utf8)
        try stream.send(request)
        let created = try #require(try await heard.next())
        #expect(created.created && created.canceled == !reason.isEmpty && created.cancelReason == reason)
        #expect(created.watchID == (reason.isEmpty ? 0 : -1))
        if reason.isEmpty {
          try await ann.put(key, "seen")
          #expect(try await heard.next()?.events.first?.kv.value == Data("seen".utf8))
        }
        stream.cancel()
      }
    }
    await nodes.stop()
  }

  @Test("leases, locks, elections, grants and maintenance ask who calls")
  func services() async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    let nobody = AuthCalls(endpoint: nodes.client("a"))
    let root = try await nobody.setUp(users: ["ann", "bob"])
    let (ann, bob) = (try await nobody.logIn("ann", "ann"), try await nobody.logIn("bob", "bob"))
    await expectRefusal(.invalidArgument, "user name is empty") { _ = try await nobody.grantLease() }
    let lease = try await ann.grantLease()
    try await ann.put("ann/leased", lease: lease)
    try await expectLeasesAreKept(lease, ann: ann, bob: bob, root: root)
    try await expectTurnsAreKept(ann: ann, bob: bob)
    await expectRefusal(.invalidArgument, "user name is empty") {
      _ = try await nobody.call(
        RPCPath.Cluster.memberList, Etcdserverpb_MemberListRequest(), as: Etcdserverpb_MemberListResponse.self)
    }
    await expectRefusal(.permissionDenied, "permission denied") {
      _ = try await ann.call(
        RPCPath.Maintenance.hashKV, Etcdserverpb_HashKVRequest(), as: Etcdserverpb_HashKVResponse.self)
    }
    for user in [ann, root] {
      _ = try await user.call(
        RPCPath.Maintenance.status, Etcdserverpb_StatusRequest(), as: Etcdserverpb_StatusResponse.self)
    }
    // What was revoked is revoked for the very next call.
    try await root.revoke("ann/", end: "ann0", from: "ann")
    await expectRefusal(.permissionDenied, "permission denied") { try await ann.put("ann/a") }
    await expectRefusal(.permissionDenied, "permission denied") { try await ann.get("ann/a", serializable: true) }
    await nodes.stop()
  }

  private func expectLeasesAreKept(_ lease: Int64, ann: AuthCalls, bob: AuthCalls, root: AuthCalls) async throws {
    var revoke = Etcdserverpb_LeaseRevokeRequest()
    revoke.id = lease
    var look = Etcdserverpb_LeaseTimeToLiveRequest()
    look.id = lease
    #expect(
      try await bob.call(RPCPath.Lease.leaseTimeToLive, look, as: Etcdserverpb_LeaseTimeToLiveResponse.self).ttl > 0)
    look.keys = true
    let (revokeIt, lookAtIt) = (revoke, look)
    await expectRefusal(.permissionDenied, "permission denied") {
      _ = try await bob.call(RPCPath.Lease.leaseTimeToLive, lookAtIt, as: Etcdserverpb_LeaseTimeToLiveResponse.self)
    }
    await expectRefusal(.permissionDenied, "permission denied") {
      _ = try await bob.call(RPCPath.Lease.leaseRevoke, revokeIt, as: Etcdserverpb_LeaseRevokeResponse.self)
    }
    await expectRefusal(.permissionDenied, "permission denied") { try await bob.put("bob/a", lease: lease) }
    await expectRefusal(.permissionDenied, "permission denied") {
      let request = Etcdserverpb_LeaseLeasesRequest()
      _ = try await bob.call(RPCPath.Lease.leaseLeases, request, as: Etcdserverpb_LeaseLeasesResponse.self)
    }
    #expect(
      try await ann.call(RPCPath.Lease.leaseTimeToLive, lookAtIt, as: Etcdserverpb_LeaseTimeToLiveResponse.self).keys
        == [Data("ann/leased".utf8)])
    for (user, isRefused) in [(bob, true), (ann, false), (root, false)] {
      try await withConnection(user.endpoint) { connection in
        let heard = StreamEnds(Etcdserverpb_LeaseKeepAliveResponse.self)
        let metadata = [("token", user.token ?? "")]
        let stream = connection.openStream(RPCPath.Lease.leaseKeepAlive, metadata: metadata, handler: heard)
        var request = Etcdserverpb_LeaseKeepAliveRequest()
        request.id = lease
        try stream.send(request)
        if isRefused {
          await expectRefusal(.permissionDenied, "permission denied") { _ = try await heard.next() }
        } else {
          #expect(try await heard.next()?.ttl == 60)
        }
        stream.cancel()
      }
    }
    _ = try await root.call(RPCPath.Lease.leaseRevoke, revokeIt, as: Etcdserverpb_LeaseRevokeResponse.self)
  }

  private func expectTurnsAreKept(ann: AuthCalls, bob: AuthCalls) async throws {
    var lock = V3lockpb_LockRequest()
    lock.name = Data("ann/lock".utf8)
    var campaign = V3electionpb_CampaignRequest()
    campaign.name = Data("ann/election".utf8)
    campaign.value = Data("ann".utf8)
    var acquire = Portcullis_V1_AcquireRequest()
    acquire.scope = "ann/scope"
    acquire.holder = "somebody"
    acquire.ttlMs = 60_000
    var describe = Portcullis_V1_DescribeRequest()
    describe.scope = "ann/scope"
    let requests = (lock, campaign, acquire, describe)
    // etcd's locks and elections give the words of what they are made of, and no code.
    await expectRefusal(.unknown, "permission denied") {
      _ = try await bob.call(RPCPath.Lock.lock, requests.0, as: V3lockpb_LockResponse.self)
    }
    await expectRefusal(.unknown, "permission denied") {
      _ = try await bob.call(RPCPath.Election.campaign, requests.1, as: V3electionpb_CampaignResponse.self)
    }
    await expectRefusal(.permissionDenied, "permission denied") {
      _ = try await bob.call(RPCPath.Authority.acquire, requests.2, as: Portcullis_V1_AcquireResponse.self)
    }
    await expectRefusal(.permissionDenied, "permission denied") {
      _ = try await bob.call(RPCPath.Authority.describe, requests.3, as: Portcullis_V1_DescribeResponse.self)
    }
    let locked = try await ann.call(RPCPath.Lock.lock, lock, as: V3lockpb_LockResponse.self)
    var unlock = V3lockpb_UnlockRequest()
    unlock.key = locked.key
    _ = try await ann.call(RPCPath.Lock.unlock, unlock, as: V3lockpb_UnlockResponse.self)
    let won = try await ann.call(RPCPath.Election.campaign, campaign, as: V3electionpb_CampaignResponse.self)
    #expect(won.leader.name == Data("ann/election".utf8))
    let granted = try await ann.call(RPCPath.Authority.acquire, acquire, as: Portcullis_V1_AcquireResponse.self)
    #expect(granted.granted.number > 0)
  }

  @Test("over JSON a token comes as Authorization, and a certificate counts for nothing")
  func json() async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    _ = try await AuthCalls(endpoint: nodes.client("a")).setUp(users: ["ann"])
    let api = JSONCalls(endpoint: nodes.client("a"))
    let login = try await api.post("/v3/auth/authenticate", #"{"name":"ann","password":"ann"}"#)
    let token = try #require(login.object["token"] as? String)
    let denied = try await api.post("/v3/kv/put", #"{"key":"YW5uL2E=","value":"YQ=="}"#)
    #expect(denied.status == 400 && denied.object["error"] as? String == "etcdserver: user name is empty")
    for value in [token, "Bearer \(token)"] {
      let put = try await api.post("/v3/kv/put", #"{"key":"YW5uL2E=","value":"YQ=="}"#, authorization: value)
      #expect(put.status == 200)
    }
    let other = try await api.post("/v3/kv/range", #"{"key":"Yg=="}"#, authorization: token)
    #expect(other.status == 403 && other.object["code"] as? Int == 7)
    #expect(try await api.post("/v3/auth/status", "{}", authorization: token).status == 403)
    let root = try await api.post("/v3/auth/authenticate", #"{"name":"root","password":"root"}"#)
    let status = try await api.post("/v3/auth/status", "{}", authorization: root.object["token"] as? String)
    #expect(status.object["enabled"] as? Bool == true && status.object["authRevision"] as? String == "7")
    #expect(try await api.post("/v3/auth/user/get", #"{"name":"ann"}"#, authorization: token).status == 200)
    await nodes.stop()
  }

  @Test("signed tokens work on every node, and are worth nothing once users or roles changed")
  func signedTokens() async throws {
    let secret = try ScratchDirectory()
    try Data((0..<32).map { _ in UInt8.random(in: 0...255) }).write(to: URL(fileURLWithPath: secret("key")))
    let nodes = try Nodes("--auth-token", "jwt,sign-method=HS256,priv-key=\(secret("key")),ttl=10m")
    try await nodes.found("a", "b", "c")
    let root = try await AuthCalls(endpoint: nodes.client("a")).setUp(users: ["ann"])
    let ann = try await AuthCalls(endpoint: nodes.client("b")).logIn("ann", "ann")
    #expect(ann.token?.split(separator: ".").count == 3)
    for name in ["a", "b", "c"] { try await ann.at(nodes.client(name)).put("ann/a") }
    await expectRefusal(.permissionDenied, "permission denied") { try await ann.put("b") }
    try await root.addRole("new")
    await expectRefusal(.invalidArgument, "revision of auth store is old") { try await ann.put("ann/a") }
    await expectRefusal(.invalidArgument, "revision of auth store is old") { try await ann.get("ann/a") }
    try await root.addRole("newer")
    let again = try await AuthCalls(endpoint: nodes.client("c")).logIn("ann", "ann")
    for name in ["a", "b", "c"] { try await again.at(nodes.client(name)).put("ann/a") }
    await expectRefusal(.unauthenticated, "invalid auth token") {
      try await AuthCalls(endpoint: nodes.client("a"), token: (again.token ?? "") + "x").put("ann/a")
    }
    await nodes.stop()
  }

  @Test("writes and renewals go on while roles are changed on another node")
  func changingRoles() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    let root = try await AuthCalls(endpoint: nodes.client("a")).setUp(users: ["ann"])
    let ann = try await AuthCalls(endpoint: nodes.client("b")).logIn("ann", "ann")
    let lease = try await ann.grantLease()
    try await ann.put("ann/leased", lease: lease)
    let changing = Task { for number in 0..<60 { try await root.addRole("role \(number)") } }
    let other = ann.at(nodes.client("c"))
    let renewing = Task { try await renew(lease, times: 100, by: other) }
    for step in 0..<100 {
      try await other.put("ann/\(step)")
      try await ann.put("ann/\(step)")
    }
    try await changing.value
    try await renewing.value
    await nodes.stop()
  }

  private func renew(_ lease: Int64, times: Int, by user: AuthCalls) async throws {
    try await withConnection(user.endpoint) { connection in
      let heard = StreamEnds(Etcdserverpb_LeaseKeepAliveResponse.self)
      let metadata = [("token", user.token ?? "")]
      let stream = connection.openStream(RPCPath.Lease.leaseKeepAlive, metadata: metadata, handler: heard)
      var request = Etcdserverpb_LeaseKeepAliveRequest()
      request.id = lease
      for _ in 0..<times {
        try stream.send(request)
        #expect(try await heard.next()?.ttl == 60)
      }
      stream.cancel()
    }
  }

  @Test("flags that would not do what they ask for are refused")
  func flags() async throws {
    for (token, reason) in [
      ("jwt", "needs sign-method"), ("jwt,sign-method=HS256", "needs priv-key=FILE"), ("magic", "\"simple\" or \"jwt"),
      ("jwt,sign-method=HS256,priv-key=/no/such/file", "/no/such/file cannot be read"),
      ("jwt,sign-method=HS256,privkey=x", "has no option \"privkey\""), ("jwt,ttl", "is not of the form option=value"),
      ("jwt,sign-method=HS256,ttl=soon", "is a time such as 10m"),
    ] {
      let outcome = try await Program.run(["core", "--auth-token", token])
      #expect(outcome.exitCode == 64 && outcome.errors.contains(reason), "\(outcome.errors)")
    }
    #expect(try await Program.run(["core", "--bcrypt-cost", "3"]).errors.contains("--bcrypt-cost is from 4 to 31"))
  }

  @Test("no password gets into a node's files")
  func files() async throws {
    let nodes = try Nodes("--snapshot-count", "20", "--snapshot-log-percent", "0")
    try await nodes.found("a")
    let calls = AuthCalls(endpoint: nodes.client("a"))
    let root = try await calls.setUp(users: [])
    try await root.addUser("ann", "correct horse battery")
    let ann = try await calls.logIn("ann", "correct horse battery")
    for step in 0..<40 { try await root.put("filler \(step)") }
    try await nodes.wait(for: "portcullis_snapshot_index", of: "a") { $0 > 0 }
    await nodes.stop("a")
    let secrets = ["correct horse battery", String((ann.token ?? "").prefix(16))]
    let files = try #require(FileManager.default.enumerator(atPath: nodes.data("a"))).compactMap { $0 as? String }
    var bytes = 0
    for file in files {
      guard let content = FileManager.default.contents(atPath: nodes.data("a") + "/" + file) else { continue }
      bytes += content.count
      for secret in secrets { #expect(content.range(of: Data(secret.utf8)) == nil, "\(secret) is in \(file)") }
    }
    #expect(bytes > 10_000)
  }
}
