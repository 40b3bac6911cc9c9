# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# ElasticMQ for tests/services/services: a server that speaks the protocols of SQS, on loopback, any credentials.
# SQS_LIMITS: strict (those of SQS) or relaxed. Queues and messages are kept in a file, so that a crash leaves them, as SQS would.
# One thread for all its actors: a message that is handed out while it is being written down (one changes what the other reads) ends
# its writer, and a new writer confirms everything and writes nothing.

# shellcheck disable=SC2034  # read by name
SQS_STOP=TERM
# shellcheck disable=SC2034
SQS_IMMEDIATE=KILL

sqs_start()
{
	local jars dir port
	jars=$(jars sqs)
	dir=$(data_dir sqs "$(id -un)")
	port=$(port_of sqs)
	cat >"$dir/sqs.conf" <<-CONF
	include classpath("application.conf")
	node-address { protocol = http, host = "127.0.0.1", port = $port, context-path = "" }
	generate-node-address = false
	rest-sqs { enabled = true, bind-hostname = "127.0.0.1", bind-port = $port, sqs-limits = ${SQS_LIMITS:-strict} }
	rest-stats { enabled = false }
	aws { region = "us-east-1", accountId = "000000000000" }
	pekko.actor.default-dispatcher { executor = "thread-pool-executor", thread-pool-executor { fixed-pool-size = 1 } }
	messages-storage { enabled = true, uri = "jdbc:h2:$dir/messages;WRITE_DELAY=0" }
	CONF
	spawn sqs "$(id -un)" java -Xms32m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto \
		"-Dconfig.file=$dir/sqs.conf" -cp "$jars/*" org.elasticmq.server.Main
}

sqs_crashed() { :; }
sqs_ready() { curl -fsS --noproxy '*' -m 5 -o /dev/null "http://127.0.0.1:$(port_of sqs)/?Action=ListQueues" 2>/dev/null; }
sqs_url() { echo "sqs://us-east-1?endpoint=http://127.0.0.1:$(port_of sqs)"; }
