"""The API as JSON, with curl, at every path under /v3/ that etcd documents.

Run: CORE_COMMAND=".build/release/portcullis core" python3 -m unittest discover -s Tests/Clients/json
"""

import base64
import json
import subprocess
import unittest

from nodes import Nodes

# Far longer than any call takes: the machine may be busy.
PATIENCE_SECONDS = 60


def b64(text):
    return base64.b64encode(text.encode()).decode()


def text(encoded):
    return base64.b64decode(encoded).decode()


class Answer(dict):
    status = 0


def curl(*arguments):
    return ["curl", "--silent", "--show-error", "--no-buffer", "--max-time", str(PATIENCE_SECONDS), *arguments]


class Stream:
    """A call whose answers come one a line."""

    def __init__(self, endpoint, path, *requests, token=None):
        body = "".join(json.dumps(request) for request in requests)
        headers = ["--header", f"Authorization: {token}"] if token else []
        self.process = subprocess.Popen(
            curl("--request", "POST", *headers, "--data", body, endpoint + path), stdout=subprocess.PIPE)

    def next(self):
        """The next answer; None when the server has ended the stream."""
        line = self.process.stdout.readline()
        return json.loads(line) if line.strip() else None

    def result(self):
        answer = self.next()
        if not answer or "result" not in answer:
            raise AssertionError(f"the stream goes on with {answer}")
        return answer["result"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


class GatewayTest(unittest.TestCase):
    size = 1

    @classmethod
    def setUpClass(cls):
        cls.nodes = Nodes(cls.size)
        cls.addClassCleanup(cls.nodes.stop)
        for endpoint in cls.nodes.clients:
            subprocess.run(
                curl("--retry", "300", "--retry-delay", "0", "--retry-connrefused", "--fail", "--output", "/dev/null",
                     "--retry-all-errors", "--request", "POST", "--data", '{"key":"AA=="}', endpoint + "/v3/kv/range"),
                check=True, stderr=subprocess.DEVNULL)

    def post(self, path, request=None, token=None, node=0, raw=None):
        body = raw if raw is not None else json.dumps(request or {})
        headers = ["--header", f"Authorization: {token}"] if token else []
        done = subprocess.run(
            curl("--request", "POST", *headers, "--data", body, "--write-out", "\n%{http_code}",
                 self.nodes.clients[node] + path), capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, f"{path}: {done.stderr}")
        body, _, status = done.stdout.rpartition("\n")
        try:
            answer = Answer(json.loads(body))
        except ValueError:
            answer = Answer(body=body)
        answer.status = int(status)
        return answer

    def good(self, path, request=None, **options):
        answer = self.post(path, request, **options)
        self.assertEqual(answer.status, 200, f"{path}: {answer}")
        return answer

    def refused(self, path, request, error, code, status, **options):
        """Tools read the text and gRPC's code; the HTTP status goes with the code."""
        answer = self.post(path, request, **options)
        self.assertEqual((answer.get("error"), answer.get("message")), (error, error), path)
        self.assertEqual((answer.get("code"), answer.status), (code, status), path)

    def stream(self, path, *requests, **options):
        return Stream(self.nodes.clients[0], path, *requests, **options)

    def put(self, key, value="", **more):
        return self.good("/v3/kv/put", {"key": b64(key), "value": b64(value), **more})

    def keys(self, key, end=None, **more):
        end = {"range_end": b64(end)} if end else {}
        found = self.good("/v3/kv/range", {"key": b64(key), **end, **more})
        return [text(kv["key"]) for kv in found.get("kvs", [])]


class Keys(GatewayTest):
    def test_put_and_range(self):
        first = self.put("kv/a", "one")
        self.assertEqual(set(first), {"header"})
        self.assertEqual(set(first["header"]), {"cluster_id", "member_id", "revision", "raft_term"})
        previous = self.put("kv/a", "two", prev_kv=True)["prev_kv"]
        self.assertEqual((text(previous["value"]), previous["version"]), ("one", "1"))
        # The names of proto3's own JSON are taken as well.
        previous = self.good("/v3/kv/put", {"key": b64("kv/a"), "ignoreValue": True, "prevKv": True})["prev_kv"]
        self.assertEqual(previous["version"], "2")
        self.put("kv/b", "three")
        found = self.good("/v3/kv/range", {"key": b64("kv/"), "range_end": b64("kv0")})
        self.assertEqual(found["count"], "2")
        self.assertEqual(set(found["kvs"][0]), {"key", "value", "version", "create_revision", "mod_revision"})
        self.assertEqual(self.keys("kv/", "kv0", sort_order="DESCEND", sort_target="KEY"), ["kv/b", "kv/a"])
        limited = self.good("/v3/kv/range", {"key": b64("kv/"), "range_end": b64("kv0"), "limit": "1"})
        self.assertEqual((limited["more"], limited["count"], len(limited["kvs"])), (True, "2", 1))
        counted = self.good("/v3/kv/range", {"key": b64("kv/"), "range_end": b64("kv0"), "count_only": True})
        self.assertEqual((counted["count"], "kvs" in counted), ("2", False))
        old = self.good("/v3/kv/range", {"key": b64("kv/a"), "revision": first["header"]["revision"]})
        self.assertEqual(text(old["kvs"][0]["value"]), "one")
        self.assertEqual(self.keys("kv/", "kv0", keys_only=True, serializable=True), ["kv/a", "kv/b"])

    def test_deleterange(self):
        for key in ("gone/a", "gone/b"):
            self.put(key, key)
        deleted = self.good("/v3/kv/deleterange", {"key": b64("gone/"), "range_end": b64("gone0"), "prev_kv": True})
        self.assertEqual(deleted["deleted"], "2")
        self.assertEqual([text(kv["value"]) for kv in deleted["prev_kvs"]], ["gone/a", "gone/b"])
        self.assertNotIn("deleted", self.good("/v3/kv/deleterange", {"key": b64("gone/a")}))

    def test_txn(self):
        self.put("txn/a", "1")
        compare = {"key": b64("txn/a"), "target": "VALUE", "result": "EQUAL", "value": b64("1")}
        inner = {"success": [{"request_put": {"key": b64("txn/c"), "value": b64("3")}}]}
        request = {"compare": [compare],
                   "success": [{"request_put": {"key": b64("txn/b"), "value": b64("2")}},
                               {"requestRange": {"key": b64("txn/a")}}, {"request_txn": inner}],
                   "failure": [{"request_delete_range": {"key": b64("txn/a")}}]}
        done = self.good("/v3/kv/txn", request)
        self.assertTrue(done["succeeded"])
        self.assertEqual([next(iter(response)) for response in done["responses"]],
                         ["response_put", "response_range", "response_txn"])
        request["compare"][0]["value"] = b64("other")
        done = self.good("/v3/kv/txn", request)
        self.assertNotIn("succeeded", done)
        self.assertEqual(done["responses"][0]["response_delete_range"]["deleted"], "1")
        twice = [{"request_put": {"key": b64("txn/d")}}] * 2
        self.refused("/v3/kv/txn", {"success": twice}, "etcdserver: duplicate key given in txn request", 3, 400)

    def test_compaction(self):
        first, last = (int(self.put("compacted", value)["header"]["revision"]) for value in ("1", "2"))
        compacted = "etcdserver: mvcc: required revision has been compacted"
        self.good("/v3/kv/compaction", {"revision": str(last), "physical": True})
        self.refused("/v3/kv/compaction", {"revision": last}, compacted, 11, 400)
        self.refused("/v3/kv/range", {"key": b64("compacted"), "revision": first}, compacted, 11, 400)
        future = "etcdserver: mvcc: required revision is a future revision"
        self.refused("/v3/kv/range", {"key": b64("compacted"), "revision": last + 1000}, future, 11, 400)

    def test_what_is_no_request(self):
        # The second is where etcd 3.3 had it.
        for path in ("/v3/kv/put", "/v3beta/kv/put"):
            self.refused(path, {"value": b64("x")}, "etcdserver: key is not provided", 3, 400)
        for body in ('{"key": "no base64!"}', '{"no_such_field": 1}', "[]", "neither", '{"key": "Zm9v"'):
            answer = self.post("/v3/kv/put", raw=body)
            self.assertEqual(answer.status, 400, f"{body}: {answer}")
        for path in ("/v3/kv/nothing", "/v3alpha/kv/range", "/v2/keys"):
            self.assertEqual(self.post(path).status, 404, path)
        got = subprocess.run(curl("--write-out", "%{http_code}", "--output", "/dev/null",
                                  self.nodes.clients[0] + "/v3/kv/range"), capture_output=True, text=True)
        self.assertEqual(got.stdout, "405")


class Leases(GatewayTest):
    def test_grant_timetolive_leases_revoke(self):
        lease = self.good("/v3/lease/grant", {"TTL": 60})["ID"]
        self.assertGreater(int(lease), 0)
        named = self.good("/v3/lease/grant", {"TTL": "60", "ID": "4711"})
        self.assertEqual((named["ID"], named["TTL"]), ("4711", "60"))
        self.refused("/v3/lease/grant", {"TTL": 60, "ID": 4711}, "etcdserver: lease already exists", 9, 400)
        self.put("leased", lease=lease)
        for path in ("/v3/lease/timetolive", "/v3/kv/lease/timetolive"):
            left = self.good(path, {"ID": lease, "keys": True})
            self.assertEqual((left["grantedTTL"], [text(key) for key in left["keys"]]), ("60", ["leased"]))
        self.assertEqual(self.good("/v3/lease/timetolive", {"ID": "1"})["TTL"], "-1")
        for path in ("/v3/lease/leases", "/v3/kv/lease/leases"):
            self.assertEqual({status["ID"] for status in self.good(path)["leases"]}, {lease, "4711"})
        self.good("/v3/lease/revoke", {"ID": lease})
        self.good("/v3/kv/lease/revoke", {"ID": 4711})
        self.assertEqual(self.keys("leased"), [])
        self.refused("/v3/lease/revoke", {"ID": lease}, "etcdserver: requested lease not found", 5, 404)

    def test_keepalive_ends_with_its_last_answer(self):
        lease = self.good("/v3/lease/grant", {"TTL": 60})["ID"]
        with self.stream("/v3/lease/keepalive", {"ID": lease}, {"ID": "1"}, {"ID": lease}) as alive:
            renewed, unknown, again = alive.result(), alive.result(), alive.result()
            self.assertEqual((renewed["ID"], renewed["TTL"]), (lease, "60"))
            self.assertEqual((unknown["ID"], "TTL" in unknown), ("1", False))
            self.assertEqual(again["TTL"], "60")
            self.assertIsNone(alive.next())
            self.assertEqual(alive.process.wait(), 0)


class Watches(GatewayTest):
    def test_watch(self):
        created = {"create_request": {"key": b64("w/"), "range_end": b64("w0"), "prev_kv": True}}
        with self.stream("/v3/watch", created, {"create_request": {"key": b64("other"), "watch_id": "7"}}) as watch:
            self.assertTrue(watch.result()["created"])
            self.assertEqual(watch.result()["watch_id"], "7")
            put = self.put("w/a", "1")
            event, = watch.result()["events"]
            self.assertEqual((text(event["kv"]["key"]), event["kv"]["mod_revision"]),
                             ("w/a", put["header"]["revision"]))
            self.assertNotIn("type", event)
            self.good("/v3/kv/deleterange", {"key": b64("w/a")})
            event, = watch.result()["events"]
            self.assertEqual((event["type"], text(event["prev_kv"]["value"])), ("DELETE", "1"))
            self.put("other")
            self.assertEqual(watch.result()["watch_id"], "7")

    def test_watch_from_the_past_with_a_filter(self):
        first = self.put("past", "1")["header"]["revision"]
        self.good("/v3/kv/deleterange", {"key": b64("past")})
        self.put("past", "2")
        request = {"create_request": {"key": b64("past"), "start_revision": first, "filters": ["NODELETE"]}}
        with self.stream("/v3/watch", request) as watch:
            self.assertTrue(watch.result()["created"])
            values = []
            while len(values) < 2:
                values += [text(event["kv"]["value"]) for event in watch.result()["events"]]
            self.assertEqual(values, ["1", "2"])

    def test_watch_of_what_is_compacted(self):
        last = self.put("compacted")["header"]["revision"]
        self.good("/v3/kv/compaction", {"revision": last})
        with self.stream("/v3/watch", {"create_request": {"key": b64("compacted"), "start_revision": "1"}}) as watch:
            self.assertTrue(watch.result()["created"])
            ended = watch.result()
            self.assertEqual((ended["canceled"], ended["compact_revision"]), (True, last))


class Turns(GatewayTest):
    def test_lock(self):
        lease = self.good("/v3/lease/grant", {"TTL": 60})["ID"]
        first = self.good("/v3/lock/lock", {"name": b64("lock"), "lease": lease})
        self.assertEqual(text(first["key"]), f"lock/{int(lease):x}")
        with self.waiting("/v3/lock/lock", {"name": b64("lock")}) as second:
            while len(self.keys("lock/", "lock0")) < 2:
                self.assertIsNone(second.poll(), "two have the lock")
            self.good("/v3/lock/unlock", {"key": first["key"]})
            entered = json.loads(second.communicate()[0])
        self.assertEqual(self.keys("lock/", "lock0"), [text(entered["key"])])
        self.good("/v3/lock/unlock", {"key": entered["key"]})

    def waiting(self, path, request):
        return subprocess.Popen(curl("--request", "POST", "--data", json.dumps(request), self.nodes.clients[0] + path),
                                stdout=subprocess.PIPE)

    def test_election(self):
        self.refused("/v3/election/leader", {"name": b64("office")}, "election: no leader", 2, 500)
        won = self.good("/v3/election/campaign", {"name": b64("office"), "value": b64("first")})["leader"]
        self.assertEqual(text(won["name"]), "office")
        with self.stream("/v3/election/observe", {"name": b64("office")}) as observer:
            self.assertEqual(text(observer.result()["kv"]["value"]), "first")
            self.good("/v3/election/proclaim", {"leader": won, "value": b64("still")})
            self.assertEqual(text(observer.result()["kv"]["value"]), "still")
            leader = self.good("/v3/election/leader", {"name": b64("office")})["kv"]
            self.assertEqual((leader["key"], leader["create_revision"]), (won["key"], won["rev"]))
            with self.waiting("/v3/election/campaign", {"name": b64("office"), "value": b64("second")}) as second:
                while len(self.keys("office/", "office0")) < 2:
                    self.assertIsNone(second.poll(), "two lead")
                self.good("/v3/election/resign", {"leader": won})
                self.assertEqual(text(observer.result()["kv"]["value"]), "second")
                json.loads(second.communicate()[0])["leader"]
        self.refused("/v3/election/proclaim", {"leader": won, "value": b64("late")}, "election: not leader", 2, 500)


class Cluster(GatewayTest):
    size = 3

    def test_members(self):
        listed = self.good("/v3/cluster/member/list", {"linearizable": True})["members"]
        self.assertEqual({member["name"] for member in listed}, {"n0", "n1", "n2"})
        url = "http://127.0.0.1:9"
        added = self.post("/v3/cluster/member/add", {"peerURLs": [url], "isLearner": True})
        # etcd takes a cluster for unhealthy that has only just been founded.
        while added.get("error") == "etcdserver: unhealthy cluster":
            added = self.post("/v3/cluster/member/add", {"peerURLs": [url], "isLearner": True})
        member = added["member"]
        self.assertEqual((member["peerURLs"], member["isLearner"], len(added["members"])), ([url], True, 4))
        promote = "etcdserver: can only promote a learner member which is in sync with leader"
        leader = self.leader()
        self.refused("/v3/cluster/member/promote", {"ID": member["ID"]}, promote, 9, 400, node=leader)
        self.good("/v3/cluster/member/update", {"ID": member["ID"], "peerURLs": ["http://127.0.0.1:99"]})
        removed = self.good("/v3/cluster/member/remove", {"ID": member["ID"]})
        self.assertEqual(len(removed["members"]), 3)
        self.refused("/v3/cluster/member/remove", {"ID": "1"}, "etcdserver: member not found", 5, 404)
        self.refused("/v3/cluster/member/promote", {"ID": "1"}, "etcdserver: member not found", 5, 404)

    def leader(self):
        """The number of the node that leads."""
        statuses = [self.good("/v3/maintenance/status", node=node) for node in range(self.size)]
        ids = [status["header"]["member_id"] for status in statuses]
        leaders = {status["leader"] for status in statuses}
        return ids.index(leaders.pop()) if len(leaders) == 1 else self.leader()

    def test_transfer_of_leadership(self):
        leader = self.leader()
        target = (leader + 1) % self.size
        id = self.good("/v3/maintenance/status", node=target)["header"]["member_id"]
        self.good("/v3/maintenance/transfer-leadership", {"targetID": id}, node=leader)
        self.assertEqual(self.leader(), target)
        other = (target + 1) % self.size
        self.refused("/v3/maintenance/transfer-leadership", {"targetID": id}, "etcdserver: not leader", 9, 400,
                     node=other)


class Maintenance(GatewayTest):
    def test_status_sums_and_defragmentation(self):
        self.put("summed")
        status = self.good("/v3/maintenance/status")
        for field in ("version", "dbSize", "leader", "raftIndex", "raftTerm", "raftAppliedIndex"):
            self.assertTrue(status.get(field), field)
        sums = {self.good("/v3/maintenance/hash")["hash"] for _ in range(2)}
        self.assertEqual(len(sums), 1)
        self.put("summed", "anew")
        self.assertNotIn(self.good("/v3/maintenance/hash")["hash"], sums)
        self.good("/v3/maintenance/defragment")

    def test_alarm(self):
        member = self.good("/v3/maintenance/status")["header"]["member_id"]
        raised = {"action": "ACTIVATE", "memberID": member, "alarm": "NOSPACE"}
        alarm = {"memberID": member, "alarm": "NOSPACE"}
        self.assertEqual(self.good("/v3/maintenance/alarm", raised)["alarms"], [alarm])
        self.assertEqual(self.good("/v3/maintenance/alarm", {"action": "GET"})["alarms"], [alarm])
        self.refused("/v3/kv/put", {"key": b64("x")}, "etcdserver: mvcc: database space exceeded", 8, 429)
        self.good("/v3/maintenance/alarm", {**raised, "action": "DEACTIVATE"})
        self.assertNotIn("alarms", self.good("/v3/maintenance/alarm"))
        self.put("x")

    def test_snapshot_is_a_file_with_its_sum(self):
        self.put("saved", "value of the snapshot")
        pieces = []
        with self.stream("/v3/maintenance/snapshot", {}) as snapshot:
            while (answer := snapshot.next()) is not None:
                pieces.append(base64.b64decode(answer["result"].get("blob", "")))
        file = b"".join(pieces)
        # Pages of bbolt's, and behind them 32 bytes of SHA-256.
        self.assertEqual(len(file) % 512, 32)
        self.assertIn(b"value of the snapshot", file)


class Auth(GatewayTest):
    def test_users_roles_and_tokens(self):
        status = self.good("/v3/auth/status")
        self.assertNotIn("enabled", status)
        self.refused("/v3/auth/enable", {}, "etcdserver: root user does not exist", 9, 400)
        for user in ("root", "alice"):
            self.good("/v3/auth/user/add", {"name": user, "password": f"secret of {user}"})
        self.refused("/v3/auth/user/add", {"name": "alice", "password": "x"},
                     "etcdserver: user name already exists", 9, 400)
        for role in ("root", "clerk"):
            self.good("/v3/auth/role/add", {"name": role})
        permission = {"permType": "READWRITE", "key": b64("desk/"), "range_end": b64("desk0")}
        self.good("/v3/auth/role/grant", {"name": "clerk", "perm": permission})
        self.good("/v3/auth/user/grant", {"user": "root", "role": "root"})
        self.good("/v3/auth/user/grant", {"user": "alice", "role": "clerk"})
        self.good("/v3/auth/enable")

        self.refused("/v3/kv/range", {"key": b64("desk/a")}, "etcdserver: user name is empty", 3, 400)
        self.refused("/v3/kv/range", {"key": b64("desk/a")}, "etcdserver: invalid auth token", 16, 401, token="made up")
        self.refused("/v3/auth/authenticate", {"name": "alice", "password": "wrong"},
                     "etcdserver: authentication failed, invalid user ID or password", 3, 400)
        alice, root = (self.good("/v3/auth/authenticate", {"name": user, "password": f"secret of {user}"})["token"]
                       for user in ("alice", "root"))
        self.good("/v3/kv/put", {"key": b64("desk/a"), "value": b64("1")}, token=alice)
        self.assertEqual(self.good("/v3/kv/range", {"key": b64("desk/a")}, token=alice)["count"], "1")
        for path, request in (("/v3/kv/put", {"key": b64("safe")}), ("/v3/kv/range", {"key": b64("safe")}),
                              ("/v3/kv/deleterange", {"key": b64("desk/"), "range_end": b64("e")}),
                              ("/v3/auth/user/list", {}), ("/v3/auth/disable", {})):
            self.refused(path, request, "etcdserver: permission denied", 7, 403, token=alice)
        with self.stream("/v3/watch", {"create_request": {"key": b64("desk/a")}}, token=alice) as watch:
            self.assertTrue(watch.result()["created"])
            self.good("/v3/kv/put", {"key": b64("desk/a"), "value": b64("2")}, token=root)
            self.assertEqual(text(watch.result()["events"][0]["kv"]["value"]), "2")

        self.assertTrue(self.good("/v3/auth/status", token=root)["enabled"])
        self.assertEqual(sorted(self.good("/v3/auth/user/list", token=root)["users"]), ["alice", "root"])
        self.assertEqual(self.good("/v3/auth/user/get", {"name": "alice"}, token=root)["roles"], ["clerk"])
        self.assertEqual(sorted(self.good("/v3/auth/role/list", token=root)["roles"]), ["clerk", "root"])
        got = self.good("/v3/auth/role/get", {"role": "clerk"}, token=root)["perm"]
        self.assertEqual(got, [permission])
        self.good("/v3/auth/role/revoke", {"role": "clerk", "key": b64("desk/"), "range_end": b64("desk0")}, token=root)
        self.refused("/v3/kv/range", {"key": b64("desk/a")}, "etcdserver: permission denied", 7, 403, token=alice)
        self.good("/v3/auth/user/changepw", {"name": "alice", "password": "anew"}, token=root)
        self.good("/v3/auth/authenticate", {"name": "alice", "password": "anew"})
        self.good("/v3/auth/user/revoke", {"name": "alice", "role": "clerk"}, token=root)
        self.good("/v3/auth/role/delete", {"role": "clerk"}, token=root)
        self.good("/v3/auth/user/delete", {"name": "alice"}, token=root)
        self.good("/v3/auth/disable", token=root)
        self.put("safe")


if __name__ == "__main__":
    unittest.main()
