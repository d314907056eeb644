#!/usr/bin/env python3
"""An adapter for `portcullis conformance`: locks of an etcd in front of an SQLite file. Needs nothing but Python 3.

    portcullis conformance --adapter-command 'python3 adapter.py --port {port} --etcd http://127.0.0.1:2379'
    portcullis conformance --adapter-command 'python3 adapter.py --port {port} --etcd http://127.0.0.1:2379 --fence'

Without --fence it is what many programs do: they take a lock, and write while they believe that they hold it. With it
each write shows the revision at which its lock was made, and the file takes none that is below the highest it has seen.

The contract is in docs/conformance-adapter.md. Nothing here renews a lease by itself: that is the writer's to do, which
is the process that is stopped.
"""

import argparse
import base64
import contextlib
import http.server
import json
import os
import signal
import sqlite3
import sys
import tempfile
import urllib.error
import urllib.request

arguments = argparse.ArgumentParser(description="Locks of an etcd in front of an SQLite file, as an adapter.")
arguments.add_argument("--port", type=int, required=True, help="where to listen, on 127.0.0.1")
arguments.add_argument("--etcd", default="http://127.0.0.1:2379", help="any etcd v3, or a Portcullis core")
arguments.add_argument("--file", help="the database; by default a new one that goes with the process")
arguments.add_argument("--fence", action="store_true", help="refuse what is below the highest revision seen")


class Refused(Exception):
    """The fence says no. The contract's word for it is 409, and nothing else is."""


class Etcd:
    """etcd's API as JSON: numbers of 64 bits are strings, bytes are base64, a stream's answer stands in `result`."""

    def __init__(self, address):
        self.address = address

    def call(self, path, timeout=5.0, **message):
        request = urllib.request.Request(
            f"{self.address}/v3/{path}", json.dumps(message).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.loads(answer.readline())

    def keep_alive(self, lease):
        """Whether the lease lives on."""
        return int(self.call("lease/keepalive", ID=lease)["result"].get("TTL", 0)) > 0

    def revoke(self, lease):
        with contextlib.suppress(urllib.error.HTTPError):  # one that has ended by itself
            self.call("lease/revoke", ID=lease)

    def lock(self, name, milliseconds, wait):
        """Takes a lease with a key of the lock service on it: returns the key's revision, the lease and its length."""
        granted = self.call("lease/grant", TTL=str(max(1, -(-milliseconds // 1000))), ID="0")
        lease, seconds = granted["ID"], int(granted["TTL"])
        try:
            # Nobody renews the lease while its owner waits, so the place in line is given up before it ends.
            key = self.call(
                "lock/lock", timeout=max(0.05, min(wait, seconds / 2)),
                name=base64.b64encode(name.encode()).decode(), lease=lease)["key"]
            kvs = self.call("kv/range", key=key).get("kvs")
            if kvs and self.keep_alive(lease):
                return kvs[0]["create_revision"], lease, seconds * 1000
        except (TimeoutError, urllib.error.HTTPError):
            pass  # somebody else has it, or the lease was over
        self.revoke(lease)
        return None


class Texts:
    """Texts by lock and key in an SQLite file, and the highest number that was shown for each lock."""

    SCHEMA = """CREATE TABLE IF NOT EXISTS texts(lock TEXT, key TEXT, value TEXT, PRIMARY KEY (lock, key));
                CREATE TABLE IF NOT EXISTS floors(lock TEXT PRIMARY KEY, number INTEGER, fence INTEGER)"""

    def __init__(self, path, fence):
        self.path, self.fence = path, fence
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.executescript(self.SCHEMA)

    @contextlib.contextmanager
    def transaction(self):
        """A connection of its own for each request; what raises an error changes nothing."""
        with contextlib.closing(sqlite3.connect(self.path, timeout=10, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("COMMIT")

    def reset(self, lock, fence):
        with self.transaction() as database:
            database.execute("DELETE FROM texts WHERE lock = ?", (lock,))
            database.execute("REPLACE INTO floors VALUES (?, 0, ?)", (lock, self.fence and fence))

    def check(self, database, lock, proof):
        """The fence: in the transaction of what it lets through, or it would be no fence."""
        floor, fence = database.execute("SELECT number, fence FROM floors WHERE lock = ?", (lock,)).fetchone()
        if not fence:
            return
        if not proof or int(proof) < floor:
            raise Refused(f"number {proof} is below {floor}")
        database.execute("UPDATE floors SET number = ? WHERE lock = ?", (int(proof), lock))

    def write(self, lock, key, value, proof):
        with self.transaction() as database:
            self.check(database, lock, proof)
            database.execute("REPLACE INTO texts VALUES (?, ?, ?)", (lock, key, value))

    def read(self, lock, key, proof):
        with self.transaction() as database:
            if proof:  # who reads in order to write raises the floor, or an older write could still come in between
                self.check(database, lock, proof)
            row = database.execute("SELECT value FROM texts WHERE lock = ? AND key = ?", (lock, key)).fetchone()
            return row[0] if row else None


class Adapter:
    """A method for each request of the contract: takes its fields, returns those of the answer."""

    def __init__(self, options, path):
        self.etcd, self.texts, self.fence = Etcd(options.etcd.rstrip("/")), Texts(path, options.fence), options.fence

    def hello(self):
        name = "etcd locks, SQLite " + ("with a fence" if self.fence else "without a fence")
        return {"portcullis_adapter": 1, "name": name, "control": self.fence}

    def reset(self, lock, fence):
        self.texts.reset(lock, fence)
        return {}

    def acquire(self, lock, owner, ttl_ms, wait_ms):
        locked = self.etcd.lock(lock, ttl_ms, wait_ms / 1000)
        if locked is None:
            return {"granted": False}
        revision, lease, milliseconds = locked
        answer = {"granted": True, "held": lease, "ttl_ms": milliseconds}
        if self.fence:
            answer |= {"proof": revision, "number": int(revision)}
        return answer

    def renew(self, held):
        return {"alive": self.etcd.keep_alive(held)}

    def release(self, held):
        self.etcd.revoke(held)
        return {}

    def write(self, lock, key, value, owner, proof=None):
        self.texts.write(lock, key, value, proof)
        return {}

    def read(self, lock, key, owner, proof=None):
        return {"value": self.texts.read(lock, key, proof)}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    requests = {"GET": ["hello"], "POST": ["reset", "acquire", "renew", "release", "write", "read"]}

    def answer(self):
        fields = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        name = self.path.removeprefix("/")
        if name not in self.requests[self.command]:
            return 404, {"error": f"there is no {self.command} {self.path}"}
        try:
            return 200, getattr(self.server.adapter, name)(**fields)
        except Refused as refusal:
            return 409, {"error": str(refusal)}

    def respond(self):
        try:
            status, fields = self.answer()
        except Exception as error:  # whoever asked is told, and the next request is served
            status, fields = 500, {"error": f"{type(error).__name__}: {error}"}
        body = json.dumps(fields).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = respond

    def log_message(self, *_):
        pass


def main():
    options = arguments.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that the directory goes
    with tempfile.TemporaryDirectory() as directory:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
        server.adapter = Adapter(options, options.file or os.path.join(directory, "texts.db"))
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
