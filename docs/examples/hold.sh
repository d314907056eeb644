#!/usr/bin/env bash
# Holds a scope with curl alone, writes to its database under the grant, and lets go.
#
#   hold.sh orders 'INSERT INTO t VALUES (1)'
#
# Environment: CORE and GATEWAY, addresses with http:// or https://. Exit code 75: the scope was not granted.
set -euo pipefail

readonly scope=$1 statement=$2
readonly core=${CORE:-http://127.0.0.1:2379} gateway=${GATEWAY:-http://127.0.0.1:4001}

# call PATH BODY: one call of portcullis.v1. 64-bit numbers are strings in JSON.
call() { curl --silent --show-error --fail-with-body --max-time 30 "$core/portcullis/v1/$1" --data "$2"; }

# field NAME: its value in the JSON on stdin. Names here come once.
field() { sed -n -E "s/.*\"$1\":\"?([^\",}]*).*/\\1/p"; }

# A session: it must be renewed (sessions/keepalive) by whoever holds for longer than its time to live.
session=$(call sessions/open '{"holder": "hold.sh", "ttl_ms": "10000"}' | field id)
trap 'call sessions/close "{\"id\": \"$session\"}" > /dev/null' EXIT

# A request id makes one request of retries: curl may try again after an unknown outcome.
answer=$(call authority/acquire \
  "{\"scope\": \"$scope\", \"lease\": \"$session\", \"wait_ms\": \"5000\", \"request_id\": \"hold.sh-$$-$RANDOM\"}")
token=$(field token <<< "$answer")
if [ -z "$token" ]; then
  echo "not granted: $(field reason <<< "$answer")" >&2
  exit 75
fi
echo "granted under number $(field number <<< "${answer#*\"granted\"}")"

# The token goes with every write. The gateway refuses it once a newer grant was made, whatever this script believes.
curl --silent --show-error --fail-with-body --max-time 30 "$gateway/db/$scope/execute" \
  --header "Fencing-Token: $token" --data "[\"$statement\"]"
echo

# The same guard for keys of the core itself: this put happens only while the grant is current.
curl --silent --show-error --fail-with-body --max-time 30 "$core/v3/kv/put" --header "Fence: $token" \
  --data "{\"key\": \"$(printf 'last/%s' "$scope" | base64)\", \"value\": \"$(date +%s | base64)\"}" > /dev/null
