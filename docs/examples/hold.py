#!/usr/bin/env python3
"""Holds a scope, writes to its database under the grant, and lets go. Needs: pip install requests "PyJWT[crypto]"

    hold.py orders "INSERT INTO t VALUES (1)"

Environment: CORE and GATEWAY, addresses with http:// or https://. Exit code 75: the scope was not granted, or was lost.
"""

import base64
import os
import sys
import threading
import time
import uuid

import jwt
import requests

CORE = os.environ.get("CORE", "http://127.0.0.1:2379")
GATEWAY = os.environ.get("GATEWAY", "http://127.0.0.1:4001")


class Lost(Exception):
    """The scope is not held, or not any more."""


def now():
    """Seconds, on a clock that goes on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def call(path, timeout=10, **message):
    """One call of portcullis.v1. Numbers of 64 bits are strings in JSON."""
    answer = requests.post(f"{CORE}/portcullis/v1/{path}", json=message, timeout=timeout)
    answer.raise_for_status()
    return answer


class Session:
    """A session that a thread keeps alive. It believes in itself from the sending of the last renewal that was answered."""

    def __init__(self, holder, ttl=10.0):
        self.ttl = ttl
        sent = now()
        opened = call("sessions/open", holder=holder, ttl_ms=str(int(ttl * 1000)), request_id=str(uuid.uuid4())).json()
        self.id = opened["session"]["id"]
        self.deadline = sent + ttl * 0.99
        self.is_over = threading.Event()
        threading.Thread(target=self.renew_until_over, daemon=True).start()

    def is_alive(self):
        return not self.is_over.is_set() and now() < self.deadline

    def renew_until_over(self):
        while not self.is_over.wait(self.ttl / 3) and self.is_alive():
            sent = now()
            try:
                answer = call("sessions/keepalive", timeout=self.ttl / 3, id=self.id).json()["result"]
            except (requests.RequestException, KeyError):
                continue  # the deadline decides
            left = int(answer.get("time_left_ms", 0)) / 1000
            if left == 0:
                break
            self.deadline = sent + left * 0.99
        self.is_over.set()

    def acquire(self, scope, wait=5.0):
        """One request id for all attempts: a retry after an unknown outcome finds the grant of the first."""
        request_id = str(uuid.uuid4())
        while self.is_alive():
            try:
                answer = call(
                    "authority/acquire", timeout=wait + 10, scope=scope, lease=self.id, request_id=request_id,
                    wait_ms=str(int(wait * 1000))).json()
            except requests.RequestException as error:
                if error.response is not None and error.response.status_code < 500:
                    raise
                time.sleep(0.1)  # nothing came back, or a node without a leader: ask again
                continue
            if "granted" in answer:
                return answer["granted"]
            raise Lost(f"{scope} was not granted: {answer['refused']['reason']}; {answer['refused']['advice']}")
        raise Lost("the session was over before the scope was granted")

    def close(self):
        self.is_over.set()
        call("sessions/close", id=self.id)


def verify(token):
    """What anybody can do who has the cluster's public keys. It does not say that nothing newer was granted since."""
    keys = jwt.PyJWKSet.from_dict(requests.get(f"{CORE}/.well-known/jwks.json", timeout=10).json())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(token, key, algorithms=["EdDSA"], issuer="portcullis", audience="portcullis-fence")


def execute(database, statements, token):
    """A write through the gateway, which refuses a stale token with 409 whatever this process believes."""
    answer = requests.post(
        f"{GATEWAY}/db/{database}/execute?transaction", json=statements, headers={"Fencing-Token": token}, timeout=30)
    if not answer.ok:
        raise Lost(f"{answer.status_code}: {answer.json()['detail']}")
    return answer.json()


def guarded_put(key, value, token):
    """A put into the core itself, carried out only while the grant is current."""
    encoded = {name: base64.b64encode(text.encode()).decode() for name, text in (("key", key), ("value", value))}
    answer = requests.post(f"{CORE}/v3/kv/put", json=encoded, headers={"Fence": token}, timeout=10)
    if not answer.ok:
        raise Lost(answer.json()["message"])


def main(scope, statement):
    session = Session("hold.py")
    try:
        grant = session.acquire(scope)
        claims = verify(grant["token"])
        print(f"granted to {claims['holder']} under number {claims['number']}, incarnation {claims['incarnation']}")
        if not session.is_alive():
            raise Lost("the session was over before the work began")
        print(execute(scope, [statement], grant["token"]))
        guarded_put(f"last/{scope}", str(claims["number"]), grant["token"])
    finally:
        session.close()
    # Let go of: nothing is carried out under the token any more.
    try:
        guarded_put(f"last/{scope}", "late", grant["token"])
    except Lost as reason:
        print(f"refused, as it should be: {reason}")
    else:
        sys.exit("a write under a grant that is over was taken")


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2])
    except Lost as reason:
        print(reason, file=sys.stderr)
        sys.exit(75)
