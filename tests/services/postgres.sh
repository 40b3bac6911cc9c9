# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# PostgreSQL for tests/services/services: one cluster, TCP on loopback only, superuser `windlass`, no password.
# PG_OPTIONS: more arguments for the server ("-c max_connections=8"). fsync stays on: the tests are about durability.

# shellcheck disable=SC2034  # read by name
POSTGRES_STOP=INT
# shellcheck disable=SC2034
POSTGRES_IMMEDIATE=QUIT

postgres_bin()
{
	local bin
	bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
	[ -x "$bin/postgres" ] && echo "$bin" || dirname "$(command -v postgres || die 'PostgreSQL is not installed')"
}

postgres_user() # it refuses to run as root
{
	if [ "$(id -u)" != 0 ]; then id -un
	elif id -u postgres >/dev/null 2>&1; then echo postgres
	else echo nobody; fi
}

postgres_start()
{
	local bin user dir as
	bin=$(postgres_bin)
	user=$(postgres_user)
	dir=$(data_dir postgres "$user")
	cd "$dir" || exit # a folder that the server's user can read
	if [ ! -f "$dir/PG_VERSION" ]; then
		mapfile -t as < <(run_as "$user" "$bin/initdb" -D "$dir" -U windlass --auth=trust -E UTF8 \
			--locale=C.UTF-8 --no-sync --no-instructions)
		"${as[@]}" >"$ROOT/log/postgres-initdb.log" 2>&1 || { cat "$ROOT/log/postgres-initdb.log" >&2; die 'initdb failed'; }
		cat >>"$dir/postgresql.conf" <<-CONF
		listen_addresses = '127.0.0.1'
		unix_socket_directories = ''
		shared_buffers = 128MB
		max_connections = 200
		max_wal_size = 2GB
		checkpoint_timeout = 15min
		log_line_prefix = '%m [%p] %a '
		CONF
	fi
	# shellcheck disable=SC2086  # PG_OPTIONS holds words
	spawn postgres "$user" "$bin/postgres" -D "$dir" -p "$(port_of postgres)" ${PG_OPTIONS:-}
}

# All its processes are dead, but where nobody reaps them they count as living in the eyes of the next server.
postgres_crashed() { rm -f "$(data_dir postgres "$(postgres_user)")/postmaster.pid"; }
postgres_ready() { "$(postgres_bin)/pg_isready" -q -h 127.0.0.1 -p "$(port_of postgres)" -U windlass -d postgres; }
postgres_url() { echo "postgresql://windlass@127.0.0.1:$(port_of postgres)/postgres"; }
