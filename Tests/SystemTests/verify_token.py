"""Verifies the token in PORTCULLIS_TOKEN against the key set of a core node, and shows that a changed one fails."""

import json
import os
import sys
import urllib.request

import jwt

with urllib.request.urlopen(sys.argv[1] + "/.well-known/jwks.json") as answer:
    keys = jwt.PyJWKSet.from_dict(json.load(answer))

token = os.environ["PORTCULLIS_TOKEN"]


def verify(text):
    key = keys[jwt.get_unverified_header(text)["kid"]]
    return jwt.decode(text, key, algorithms=["EdDSA"], audience="portcullis-fence", issuer="portcullis")


claims = verify(token)
assert claims["number"] == int(os.environ["PORTCULLIS_NUMBER"]), claims
assert claims["incarnation"] == int(os.environ["PORTCULLIS_INCARNATION"]), claims
print(claims["scope"], claims["holder"], claims["number"], claims["cluster"])

head, payload, signature = token.split(".")
try:
    verify(".".join([head, payload[:-4] + ("AAAA" if payload[-4:] != "AAAA" else "BBBB"), signature]))
except jwt.InvalidTokenError as error:
    print("changed token refused:", error)
else:
    sys.exit("a changed token was accepted")
