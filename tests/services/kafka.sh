# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Kafka (KRaft) for tests/services/services, on loopback: `kafka` is one node; `kafka3a kafka3b kafka3c` are three nodes of one
# cluster, every topic on all three, two needed for a write; start them together.
# Besides the plain listener each node has SASL over TLS (PLAIN and SCRAM-SHA-512, windlass:windlass-secret), and the same once
# more with the certificate of another host. Numbers are such that elections, rebalances and a return after kill -9 take seconds.

# shellcheck disable=SC2034  # read by name
KAFKA_STOP=TERM
# shellcheck disable=SC2034
KAFKA_IMMEDIATE=KILL
KAFKA_CLUSTER=(kafka3a kafka3b kafka3c)

kafka_java() { printf '%s\n' java "$@" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto -Djava.net.preferIPv4Stack=true; }

kafka_conf() # NAME ID COPIES DIR VOTERS
{
	local listener certs min=1
	[ "$3" = 1 ] || min=2
	certs=$(certs)
	cat <<-CONF
	process.roles=broker,controller
	node.id=$2
	controller.quorum.voters=$5
	listeners=PLAINTEXT://127.0.0.1:$(port_of "$1"),TLS://127.0.0.1:$(port_of "$1-tls"),WRONG://127.0.0.1:$(port_of "$1-wrong"),CONTROLLER://127.0.0.1:$(port_of "$1-controller")
	advertised.listeners=PLAINTEXT://127.0.0.1:$(port_of "$1"),TLS://localhost:$(port_of "$1-tls"),WRONG://localhost:$(port_of "$1-wrong")
	listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SASL_SSL,WRONG:SASL_SSL
	controller.listener.names=CONTROLLER
	inter.broker.listener.name=PLAINTEXT
	sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
	ssl.client.auth=requested
	log.dirs=$4/log
	num.partitions=8
	default.replication.factor=$3
	min.insync.replicas=$min
	offsets.topic.replication.factor=$3
	offsets.topic.num.partitions=8
	transaction.state.log.replication.factor=$3
	transaction.state.log.min.isr=$min
	transaction.state.log.num.partitions=4
	share.coordinator.state.topic.replication.factor=$3
	share.coordinator.state.topic.min.isr=$min
	share.coordinator.state.topic.num.partitions=4
	auto.create.topics.enable=false
	group.initial.rebalance.delay.ms=0
	group.min.session.timeout.ms=1000
	group.consumer.min.session.timeout.ms=1000
	group.consumer.min.heartbeat.interval.ms=500
	broker.session.timeout.ms=3000
	broker.heartbeat.interval.ms=500
	num.network.threads=2
	num.io.threads=4
	log.segment.bytes=67108864
	log.cleaner.dedupe.buffer.size=16777216
	CONF
	for listener in tls:server wrong:wrong; do
		cat <<-CONF
		listener.name.${listener%:*}.ssl.keystore.type=PEM
		listener.name.${listener%:*}.ssl.keystore.location=$4/${listener#*:}.keystore.pem
		listener.name.${listener%:*}.ssl.truststore.type=PEM
		listener.name.${listener%:*}.ssl.truststore.location=$certs/ca.pem
		listener.name.${listener%:*}.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_windlass="windlass-secret";
		listener.name.${listener%:*}.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
		CONF
	done
}

kafka_node() # NAME ID COPIES VOTERS
{
	local jars dir java cert
	jars=$(jars kafka)
	dir=$(data_dir "$1" "$(id -un)")
	for cert in server wrong; do
		cat "$(certs)/$cert.key" "$(certs)/$cert.pem" >"$dir/$cert.keystore.pem"
	done
	kafka_conf "$1" "$2" "$3" "$dir" "$4" >"$dir/server.properties"
	cat >"$dir/log4j2.properties" <<-'CONF'
	rootLogger.level = INFO
	rootLogger.appenderRef.out.ref = out
	appender.out.type = Console
	appender.out.name = out
	appender.out.layout.type = PatternLayout
	appender.out.layout.pattern = %d %p %m (%c)%n
	CONF
	mapfile -t java < <(kafka_java -Xms128m "-Xmx${KAFKA_HEAP:-384m}" "-Dlog4j2.configurationFile=$dir/log4j2.properties" -cp "$jars/*")
	if [ ! -f "$dir/log/meta.properties" ]; then
		"${java[@]}" kafka.tools.StorageTool format -t Q3Vyc2UgdGhlIGNhYmxlcw -c "$dir/server.properties" --ignore-formatted \
			--add-scram 'SCRAM-SHA-512=[name=windlass,password=windlass-secret]' >"$ROOT/log/$1-format.log" 2>&1 ||
			{ cat "$ROOT/log/$1-format.log" >&2; die 'kafka: the storage could not be formatted'; }
	fi
	spawn "$1" "$(id -un)" "${java[@]}" kafka.Kafka "$dir/server.properties"
}

kafka_start() { kafka_node kafka 1 1 "1@127.0.0.1:$(port_of kafka-controller)"; }
kafka_crashed() { :; }
kafka_ready() { logged kafka 'Kafka Server started' && port_open "$(port_of kafka)"; }
kafka_url() { echo "kafka://127.0.0.1:$(port_of kafka)"; }

kafka3_list() # PREFIX PORT_SUFFIX: of all three, between commas
{
	local i list=
	for i in 1 2 3; do list+=",${1//%/$i}127.0.0.1:$(port_of "${KAFKA_CLUSTER[i - 1]}$2")"; done
	echo "${list#,}"
}
kafka3_url() { echo "kafka://$(kafka3_list '' '')"; }

for i in 1 2 3; do
	name=${KAFKA_CLUSTER[i - 1]}
	eval "${name}_start() { kafka_node $name $i 3 \"\$(kafka3_list %@ -controller)\"; }
	${name}_ready() { logged $name 'Kafka Server started' && port_open \"\$(port_of $name)\"; }
	${name}_crashed() { :; }
	${name}_url() { kafka3_url; }
	${name^^}_STOP=TERM ${name^^}_IMMEDIATE=KILL"
done
