#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What `make run` runs: the example tables, the payment provider's stub, and `windlass run` with the example jobs in front.
# Usage: workers/jobs/demo.sh BUILD-FOLDER. Settings come from the environment; DATABASE_URL may name a PostgreSQL.
set -euo pipefail

build=$(cd "${1:-build}" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export DATABASE_URL=${DATABASE_URL:-sqlite:$root/windlass.db}
export WINDLASS_JOBS=${WINDLASS_JOBS:-$build/jobs/jobs.yaml}
export WINDLASS_PAGES=${WINDLASS_PAGES:-$build/jobs/pages}
listen=${WINDLASS_HTTP_LISTEN:-127.0.0.1:8080}
scheme=http${WINDLASS_TLS_CERT:+s}
client=$build/windlass
[ "$scheme://$listen" = http://127.0.0.1:8080 ] || client="WINDLASS_URL=$scheme://$listen $client"

"$build/windlass" check >/dev/null
"$build/windlass" migrate >/dev/null
case $DATABASE_URL in
sqlite:*) python3 - "${DATABASE_URL#sqlite:}" "$here/schema.sql" <<-'PY'
	import sqlite3, sys
	with sqlite3.connect(sys.argv[1], timeout=30) as db:
	    db.executescript(open(sys.argv[2]).read())
	PY
	;;
*) psql -q -v ON_ERROR_STOP=1 -f "$here/schema.sql" "$DATABASE_URL" ;;
esac

# The stub lives in a session of its own: Ctrl-C must not take it away while jobs still finish.
stub_log=$(mktemp)
setsid python3 "$root/tests/stub/payment.py" >"$stub_log" &
stub=$!
windlass=
finish() {
	trap - EXIT INT TERM HUP
	kill "$stub" 2>/dev/null || true
	rm -f "$stub_log"
}
trap finish EXIT
trap '[ -z "$windlass" ] || kill -TERM "$windlass" 2>/dev/null || true' INT TERM HUP
for _ in $(seq 100); do
	[ -s "$stub_log" ] && break
	sleep 0.05
done
PAY_URL=$(sed -n 's/.* on //p' "$stub_log")
export PAY_URL

setsid "$build/windlass" run &
windlass=$!
for _ in $(seq 200); do
	curl -fsSk -o /dev/null "$scheme://$listen/readyz" 2>/dev/null && break
	kill -0 "$windlass" 2>/dev/null || break
	sleep 0.05
done
if kill -0 "$windlass" 2>/dev/null; then
	cat <<-TEXT

	Windlass is ready on $scheme://$listen (store: ${DATABASE_URL%%\?*}). Ctrl-C drains and stops.
	An order from a web page: $scheme://$listen/pages/order.html. Try in another terminal:

	  curl -s '$scheme://$listen/v1/jobs?wait=10s' -H 'Content-Type: application/json' \\
	       -d '{"type":"order.checkout","payload":{"lines":[{"sku":"espresso","qty":2}]}}'
	  curl -s $scheme://$listen/v1/jobs?limit=5
	  $client queues

	TEXT
fi
# `wait` returns early when a signal is handled; the child's own status counts.
status=0
while :; do
	wait "$windlass" && status=0 || status=$?
	kill -0 "$windlass" 2>/dev/null || break
done
exit "$status"
