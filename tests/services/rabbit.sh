# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# RabbitMQ for tests/services/services: one node, AMQP, AMQP over TLS and management on loopback, guest:guest.
# Debian's wrappers in /usr/sbin insist on their own user and on /var/lib, so the scripts below them are called, with an
# environment that says all. epmd would daemonize and stay for ever; here it is a child that dies with the node.
# RMQ_CONSUMER_TIMEOUT, RMQ_CHANNEL_TICK (ms): how long a delivery may stay unacknowledged, and how often that is looked at.
# RMQ_CERT: the certificate shown (server, wrong). TLS listens on 127.0.0.2 too, a name that no certificate here has.

# shellcheck disable=SC2034  # read by name
RABBIT_STOP=TERM
# shellcheck disable=SC2034
RABBIT_IMMEDIATE=KILL

rabbit_user() # its Erlang cookie must belong to whom it runs as
{
	if [ "$(id -u)" = 0 ] && id -u rabbitmq >/dev/null 2>&1; then echo rabbitmq
	else id -un; fi
}

rabbit_conf() # DIR
{
	local tls
	tls=$(port_of rabbit-tls)
	cat >"$1/rabbitmq.conf" <<-CONF
	listeners.tcp.1 = 127.0.0.1:$(port_of rabbit)
	listeners.ssl.1 = 127.0.0.1:$tls
	listeners.ssl.2 = 127.0.0.2:$tls
	ssl_options.cacertfile = $1/ca.pem
	ssl_options.certfile = $1/server.pem
	ssl_options.keyfile = $1/server.key
	ssl_options.verify = verify_peer
	ssl_options.fail_if_no_peer_cert = false
	management.tcp.ip = 127.0.0.1
	management.tcp.port = $(port_of rabbit-http)
	vm_memory_high_watermark.absolute = 1GB
	disk_free_limit.absolute = 50MB
	raft.wal_max_size_bytes = 67108864
	consumer_timeout = ${RMQ_CONSUMER_TIMEOUT:-1800000}
	log.console = true
	log.console.level = info
	log.file = false
	CONF
	# Not a key of rabbitmq.conf: the server would not start.
	echo "[{rabbit, [{channel_tick_interval, ${RMQ_CHANNEL_TICK:-60000}}]}]." >"$1/advanced.config"
	echo '[rabbitmq_management].' >"$1/enabled_plugins"
}

rabbit_env() # DIR DIST_PORT: the whole environment, one word a line
{
	printf '%s\n' env -i "HOME=$1" LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin \
		RABBITMQ_NODENAME=windlass@localhost "RABBITMQ_DIST_PORT=$2" "ERL_EPMD_PORT=$(port_of rabbit-epmd)" \
		"RABBITMQ_MNESIA_BASE=$1/mnesia" "RABBITMQ_LOG_BASE=$1/log" "RABBITMQ_CONF_ENV_FILE=$1/none" \
		"RABBITMQ_CONFIG_FILE=$1/rabbitmq.conf" "RABBITMQ_ADVANCED_CONFIG_FILE=$1/advanced.config" \
		"RABBITMQ_ENABLED_PLUGINS_FILE=$1/enabled_plugins"
}

rabbit_start()
{
	local user dir cert file as run
	[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || die 'RabbitMQ is not installed'
	user=$(rabbit_user)
	dir=$(data_dir rabbit "$user")
	cd "$dir" || exit
	cert=$(certs)/${RMQ_CERT:-server}
	for file in "$(certs)/ca.pem:ca.pem" "$cert.pem:server.pem" "$cert.key:server.key"; do
		install -m 600 "${file%%:*}" "$dir/${file##*:}"
		[ "$(id -u)" != 0 ] || chown "$user" "$dir/${file##*:}"
	done
	rabbit_conf "$dir"
	mapfile -t as < <(rabbit_env "$dir" "$(port_of rabbit-dist)")
	# "Under systemd" means: become the Erlang machine instead of a shell that waits for it.
	# shellcheck disable=SC2016  # for the inner shell
	run='setpriv --pdeathsig KILL epmd -port "$ERL_EPMD_PORT" -address 127.0.0.1 & exec /usr/lib/rabbitmq/bin/rabbitmq-server'
	spawn rabbit "$user" "${as[@]}" RUNNING_UNDER_SYSTEMD=true ERL_CRASH_DUMP=/dev/null \
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}" \
		sh -c "$run"
}

rabbit_ctl()
{
	local user dir as
	user=$(rabbit_user)
	dir=$(data_dir rabbit "$user")
	cd "$dir" || exit
	mapfile -t as < <(rabbit_env "$dir" "$(port_of rabbit-ctl)")
	mapfile -t as < <(run_as "$user" "${as[@]}")
	"${as[@]}" /usr/lib/rabbitmq/bin/rabbitmqctl "$@"
}

rabbit_crashed() { :; }
rabbit_ready()
{
	port_open "$(port_of rabbit)" && curl -fsS --noproxy '*' -m 5 -u guest:guest -o /dev/null \
		"http://127.0.0.1:$(port_of rabbit-http)/api/health/checks/port-listener/$(port_of rabbit)" 2>/dev/null
}
rabbit_url() { echo "amqp://guest:guest@127.0.0.1:$(port_of rabbit)/"; }
