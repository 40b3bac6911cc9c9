/* SPDX-License-Identifier: Apache-2.0 */
/* The table of settings: one row each, from which checking, `windlass settings` and the
 * documentation come. A new setting is a field in settings.h and a row here, nothing else. */
#include "common/config/settings_rows.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/cidr.h"
#include "common/base/clock.h"
#include "common/config/broker_url.h"
#include "common/config/size.h"
#include "common/job/webhook_signature.h"

#define SECOND_MS INT64_C(1000)
#define HOUR_MS   (3600 * SECOND_MS)
#define DAY_MS    (24 * HOUR_MS)
#define KIB       INT64_C(1024)
#define MIB       (1024 * KIB)

#define FIELD(field) offsetof(struct settings, field)

const struct setting_row setting_rows[] = {
	{ "DATABASE_URL", SETTING_DATABASE, FIELD(database_url), "sqlite:windlass.db", NULL, 0, 0,
	  "", true, "Where jobs are kept: sqlite:PATH or postgresql://user@host/database." },
	{ "BROKER_URL", SETTING_BROKER, FIELD(broker_url), "", NULL, 0, 0, "", true,
	  "Broker that carries jobs to workers: amqp://…, amqps://…, kafka://… or sqs://…; without it they come out of the store." },
	{ "WINDLASS_BROKER_PREFIX", SETTING_TEXT, FIELD(broker_prefix), "windlass.", NULL, 0, 64,
	  "", false, "What names on the broker begin with, before a queue's own." },
	{ "WINDLASS_BROKER_GROUP", SETTING_TEXT, FIELD(broker_group), "windlass", NULL, 1, 128, "",
	  false, "Consumer group of the workers on Kafka." },
	{ "WINDLASS_BROKER_CA_FILE", SETTING_TEXT, FIELD(broker_ca_file), "", "the system's", 0,
	  4096, "", false, "Certificates that the broker's certificate must descend from." },
	{ "WINDLASS_DETACH_AFTER", SETTING_DURATION, FIELD(detach_after_ms), "10s", NULL, 100,
	  HOUR_MS, "duration", false,
	  "When the message of a job that still runs is acknowledged and the store holds the job." },
	{ "WINDLASS_DISPATCH_LEASE", SETTING_DURATION, FIELD(dispatch_lease_ms), "60s", NULL,
	  SECOND_MS, DAY_MS, "duration", false,
	  "When a job that was put on the broker and not finished is handed out again." },
	{ "WINDLASS_HTTP_LISTEN", SETTING_LISTEN, FIELD(http_listen), "127.0.0.1:8080", NULL, 0, 0,
	  "", false, "Address and port of the HTTP API." },
	{ "WINDLASS_GRPC_LISTEN", SETTING_LISTEN, FIELD(grpc_listen), "", "no gRPC", 0, 0, "",
	  false, "Address and port of gRPC, as in 127.0.0.1:9090." },
	{ "WINDLASS_ADMIN_LISTEN", SETTING_LISTEN, FIELD(admin_listen), "",
	  "the HTTP address while that is loopback, else 127.0.0.1:8081", 0, 0, "", false,
	  "Address and port of metrics and admin routes." },
	{ "WINDLASS_TLS_CERT", SETTING_TEXT, FIELD(tls_cert), "", "no TLS", 0, 4096, "", false,
	  "File of the gateway's certificate and those between it and the authority, PEM; with it the API is served over TLS. Read again on SIGHUP." },
	{ "WINDLASS_TLS_KEY", SETTING_TEXT, FIELD(tls_key), "", NULL, 0, 4096, "", false,
	  "File of that certificate's private key, PEM, not encrypted." },
	{ "WINDLASS_TLS_HSTS", SETTING_DURATION, FIELD(tls_hsts_ms), "365d", NULL, 0, 3650 * DAY_MS,
	  "duration", false,
	  "How long browsers that came over TLS shall remember to come with nothing else; 0: not said to them." },
	{ "WINDLASS_JOBS", SETTING_TEXT, FIELD(jobs_path), "jobs.yaml", NULL, 1, 4096, "", false,
	  "The file of job definitions." },
	{ "WINDLASS_WORKERS", SETTING_INT, FIELD(workers), "1", NULL, 1, 64, "processes", false,
	  "Worker processes that `windlass run` keeps running." },
	{ "WINDLASS_POOL", SETTING_TEXT, FIELD(pool), "", "the queues of all pools", 0, 128, "",
	  false,
	  "The pool that `windlass work` belongs to; `windlass run` gives each worker its own." },
	{ "WINDLASS_NODE", SETTING_TEXT, FIELD(node), "", "the host's name", 0, 128, "", false,
	  "The name of this machine, by which `windlass scale --node` knows it." },
	{ "WINDLASS_CONCURRENCY", SETTING_INT, FIELD(concurrency), NULL, "4 for each core", 1, 1024,
	  "jobs", false, "Jobs that one worker runs at once, each in a host process." },
	{ "WINDLASS_GRACE", SETTING_DURATION, FIELD(grace_ms), "25s", NULL, 0, HOUR_MS, "duration",
	  false, "How long running jobs may take to finish after SIGTERM." },
	{ "WINDLASS_LEASE", SETTING_DURATION, FIELD(lease_ms), "30s", NULL, SECOND_MS, HOUR_MS,
	  "duration", false,
	  "When the jobs of a worker that is no longer heard of are given to others." },
	{ "WINDLASS_BODY_MAX", SETTING_SIZE, FIELD(body_bytes_max), "256KiB", NULL, KIB, 16 * MIB,
	  "size", false, "Largest job that is accepted." },
	{ "WINDLASS_BATCH_BODY_MAX", SETTING_SIZE, FIELD(batch_bytes_max), "16MiB", NULL, KIB,
	  256 * MIB, "size", false, "Largest body of the batch route." },
	{ "WINDLASS_BATCH_DIR", SETTING_TEXT, FIELD(batch_dir), "", NULL, 0, 4096, "", false,
	  "Folder of the files that batch runs may read; empty: none may be read." },
	{ "WINDLASS_RESULT_MAX", SETTING_SIZE, FIELD(result_bytes_max), "256KiB", NULL, KIB,
	  16 * MIB, "size", false, "Largest result that a job may leave." },
	{ "WINDLASS_QUEUE_MAX", SETTING_COUNT, FIELD(queue_max), "1000000", NULL, 1, 1000000000,
	  "jobs", false, "Waiting jobs in a queue from which on new ones are refused with 429." },
	{ "WINDLASS_KEEP", SETTING_DURATION, FIELD(keep_ms), "7d", NULL, HOUR_MS, 3650 * DAY_MS,
	  "duration", false, "How long ended jobs are kept." },
	{ "WINDLASS_KEEP_DEAD", SETTING_DURATION, FIELD(keep_dead_ms), "30d", NULL, HOUR_MS,
	  3650 * DAY_MS, "duration", false, "How long discarded jobs are kept." },
	{ "WINDLASS_WATCHERS_MAX", SETTING_COUNT, FIELD(watchers_max), "20000", NULL, 1, 1000000,
	  "watches", false, "Watches of jobs that a gateway serves at once, over all doors." },
	{ "WINDLASS_WATCHERS_PER_CALLER", SETTING_COUNT, FIELD(watchers_per_caller), "1000", NULL,
	  1, 1000000, "watches", false,
	  "The same of one caller, and with watch tokens of one job." },
	{ "WINDLASS_API_KEYS", SETTING_TEXT, FIELD(api_keys), "", NULL, 0, MIB, "", true,
	  "Who may use the API: `id=… hash=… tenant=… scopes=…`, one a line or separated by `;`; see `windlass key new`." },
	{ "WINDLASS_JWT_ISSUER", SETTING_TEXT, FIELD(jwt_issuer), "", NULL, 0, 1024, "", false,
	  "Issuer whose JSON Web Tokens are taken beside API keys: their `iss`." },
	{ "WINDLASS_JWT_AUDIENCE", SETTING_TEXT, FIELD(jwt_audience), "", NULL, 0, 1024, "", false,
	  "What the tokens' `aud` must be or contain." },
	{ "WINDLASS_JWT_JWKS", SETTING_TEXT, FIELD(jwt_jwks), "", NULL, 0, 4096, "", false,
	  "Where the issuer's public keys are: https://…, http:// of this machine, or a file." },
	{ "WINDLASS_JWT_TENANT_CLAIM", SETTING_TEXT, FIELD(jwt_tenant_claim), "tenant", NULL, 1,
	  256, "", false, "Claim that names a token's tenant; without it, the default tenant." },
	{ "WINDLASS_JWT_RATE", SETTING_TEXT, FIELD(jwt_rate), "", "no limit", 0, 32, "", false,
	  "Requests that one `sub` may make on one gateway: 100/s, 600/m." },
	{ "WINDLASS_JWT_WAITING", SETTING_COUNT, FIELD(jwt_waiting_max), "0", NULL, 0, 100000000,
	  "jobs", false,
	  "Jobs of one `sub` that may be unfinished on one gateway; 0: any number." },
	{ "WINDLASS_WATCH_SECRET", SETTING_TEXT, FIELD(watch_secret), "",
	  "one that the store keeps for all gateways", 0, 1024, "", true,
	  "Signs watch tokens: 32 characters or more; while it is changed two of them, the new one first, separated by a comma." },
	{ "WINDLASS_CORS_ORIGINS", SETTING_TEXT, FIELD(cors_origins), "", NULL, 0, 64 * KIB, "",
	  false, "Web origins that may call the API from a browser, separated by commas." },
	{ "WINDLASS_PAGES", SETTING_TEXT, FIELD(pages), "", NULL, 0, 4096, "", false,
	  "Folder whose .html, .js, .css, .svg and .png files the gateway serves at /pages/, as they are at its start; to everybody." },
	{ "WINDLASS_SCHEDULER", SETTING_TEXT, FIELD(scheduler), "on", NULL, 2, 3, "", false,
	  "Whether a gateway runs schedules, and makes those of its file the store's: on or off." },
	{ "WINDLASS_GRAPHQL_INTROSPECTION", SETTING_TEXT, FIELD(graphql_introspection), "auto",
	  NULL, 2, 4, "", false,
	  "Whether GraphQL shows its schema: on, off, or auto: while nobody needs a key." },
	{ "WINDLASS_GRAPHQL_DOCUMENTS", SETTING_TEXT, FIELD(graphql_documents), "",
	  "any document may be run", 0, 4096, "", false,
	  "File of the only GraphQL documents that may be run: a JSON object, from SHA-256 in hex to the document." },
	{ "WINDLASS_GRAPHQL_DEPTH", SETTING_INT, FIELD(graphql_depth_max), "10", NULL, 1, 100,
	  "fields", false, "How deep fields of a GraphQL document may be nested." },
	{ "WINDLASS_GRAPHQL_NODES", SETTING_INT, FIELD(graphql_nodes_max), "500", NULL, 1, 10000,
	  "fields", false,
	  "Fields and fragments of a GraphQL document, each fragment wherever it is spread." },
	{ "WINDLASS_GRAPHQL_ALIASES", SETTING_INT, FIELD(graphql_aliases_max), "20", NULL, 0, 10000,
	  "aliases", false, "Aliases in a GraphQL document." },
	{ "WINDLASS_GRAPHQL_TOKENS", SETTING_INT, FIELD(graphql_tokens_max), "2000", NULL, 10,
	  100000, "tokens", false, "Words and signs of a GraphQL document." },
	{ "WINDLASS_REMOTE_CA_FILE", SETTING_TEXT, FIELD(remote_ca_file), "", "the system's", 0,
	  4096, "", false, "Certificates that third parties' certificates must descend from." },
	{ "WINDLASS_REMOTE_ALLOW", SETTING_NETWORKS, FIELD(remote_allow), "", NULL, 0, 0, "", false,
	  "Networks that are not public and that calls to an address out of a payload may go to all the same, as in `10.1.0.0/16, fd00:1::/32`." },
	{ "WINDLASS_WEBHOOK_SECRET", SETTING_KEYS, FIELD(webhook_secret), "", NULL, 0, 0, "", true,
	  "Signs webhooks: one key, or two while receivers change to a new one, each whsec_ and 24 to 64 bytes in base64; without it there are no webhooks." },
	{ "WINDLASS_LOG", SETTING_LEVEL, FIELD(log_level), "info", NULL, 0, 0, "", false,
	  "Lowest level that is logged: debug, info, warn, error." },
	{ "WINDLASS_LOG_JOBS", SETTING_LOG_JOBS, FIELD(log_jobs), "all", NULL, 1, 1000000, "",
	  false,
	  "Which attempts get an outcome line in the log: all, failures, or 1/n of those that succeed." },
	{ "WINDLASS_URL", SETTING_URL, FIELD(url), "http://127.0.0.1:8080", NULL, 0, 0, "", false,
	  "Where the command line client finds the API." },
	{ "WINDLASS_API_KEY", SETTING_TEXT, FIELD(api_key), "", NULL, 0, 4096, "", true,
	  "The command line client's key." },
	{ "WINDLASS_URL_CA_FILE", SETTING_TEXT, FIELD(url_ca_file), "", "the system's", 0, 4096, "",
	  false, "Certificates that the certificate at WINDLASS_URL must descend from." },
};
const size_t setting_row_count = ARRAY_LEN(setting_rows);

static void range_text(const struct setting_row *row, struct strbuf *out)
{
	char low[24], high[24];

	switch (row->kind) {
	case SETTING_DURATION:
		strbuf_printf(out, "%s..%s", duration_format(row->min, low),
			      duration_format(row->max, high));
		break;
	case SETTING_SIZE:
		strbuf_printf(out, "%s..%s", size_format(row->min, low),
			      size_format(row->max, high));
		break;
	default:
		strbuf_printf(out, "%" PRId64 "..%" PRId64, row->min, row->max);
	}
}

static int64_t number_parse(const char *text, bool *ok_r)
{
	char *end;
	long long n;

	*ok_r = isdigit((unsigned char)text[0]) && strlen(text) < 19;
	if (!*ok_r)
		return 0;
	n = strtoll(text, &end, 10);
	*ok_r = !*end;
	return n;
}

static const char *put_number(const struct setting_row *row, void *field, const char *text,
			      struct strbuf *why)
{
	const char *noun = row->kind == SETTING_DURATION ? "a duration"
			   : row->kind == SETTING_SIZE   ? "a size"
							 : "a whole number";
	int64_t n = 0;
	bool ok;

	if (row->kind == SETTING_DURATION)
		ok = duration_parse(text, &n) == 0;
	else if (row->kind == SETTING_SIZE)
		ok = size_parse(text, &n) == 0;
	else
		n = number_parse(text, &ok);
	if (!ok || n < row->min || n > row->max) {
		if (ok)
			strbuf_addstr(why, "out of range; expected ");
		else
			strbuf_printf(why, "not %s; expected ", noun);
		range_text(row, why);
		return why->data;
	}
	if (row->kind == SETTING_INT)
		*(int *)field = (int)n;
	else
		*(int64_t *)field = n;
	return NULL;
}

static bool port_valid(const char *text)
{
	bool ok;
	int64_t port = number_parse(text, &ok);

	return ok && port <= 65535;
}

/* 127.0.0.1:8080, [::1]:8080, localhost:8080 */
static bool listen_valid(const char *text)
{
	const char *colon = strrchr(text, ':');
	size_t host_bytes = colon ? (size_t)(colon - text) : 0;
	char host[256];
	unsigned char address[16];

	if (!colon || !host_bytes || host_bytes >= sizeof(host) || !port_valid(colon + 1))
		return false;
	memcpy(host, text, host_bytes);
	host[host_bytes] = 0;
	if (host[0] == '[') {
		if (host[host_bytes - 1] != ']')
			return false;
		host[host_bytes - 1] = 0;
		return inet_pton(AF_INET6, host + 1, address) == 1;
	}
	for (const char *p = host; *p; p++) {
		if (!isalnum((unsigned char)*p) && *p != '.' && *p != '-')
			return false;
	}
	return host[strspn(host, "0123456789.")] || inet_pton(AF_INET, host, address) == 1;
}

static bool has_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0 && text[strlen(prefix)];
}

static void check_broker(const char *text, struct strbuf *why)
{
	struct arena *arena = arena_new(0);
	struct broker_url url;
	struct error error;

	if (broker_url_parse(text, arena, &url, &error) != 0)
		strbuf_addstr(why, error.message);
	if (url.password)
		explicit_bzero((char *)url.password, strlen(url.password));
	arena_free(&arena);
}

static void check_networks(const char *text, struct strbuf *why)
{
	struct cidr_list list;
	struct error error;

	if (cidr_list_parse(text, &list, &error) < 0)
		strbuf_printf(why, "%s; expected networks such as 10.1.0.0/16, fd00:1::/32",
			      error.message);
	cidr_list_release(&list);
}

static void check_keys(const char *text, struct strbuf *why)
{
	struct webhook_keys keys;
	struct error error;

	if (webhook_keys_parse(text, &keys, &error) < 0)
		strbuf_addstr(why, error.message);
	webhook_keys_wipe(&keys);
}

static const char *put_text(const struct setting_row *row, char **field, const char *text,
			    struct strbuf *why)
{
	if (row->kind == SETTING_LISTEN && *text && !listen_valid(text))
		strbuf_addstr(
			why,
			"not an address; expected HOST:PORT, as in 127.0.0.1:8080 or [::1]:8080");
	else if (row->kind == SETTING_LISTEN && !*text && *row->default_text)
		strbuf_addstr(why, "empty; expected HOST:PORT");
	else if (row->kind == SETTING_DATABASE && !has_prefix(text, "sqlite:") &&
		 !has_prefix(text, "postgresql://") && !has_prefix(text, "postgres://"))
		strbuf_addstr(
			why,
			"not a database URL; expected sqlite:PATH or postgresql://user@host/database");
	else if (row->kind == SETTING_BROKER)
		check_broker(text, why);
	else if (row->kind == SETTING_NETWORKS)
		check_networks(text, why);
	else if (row->kind == SETTING_KEYS)
		check_keys(text, why);
	else if (row->kind == SETTING_URL && !has_prefix(text, "http://") &&
		 !has_prefix(text, "https://"))
		strbuf_addstr(why, "not a URL; expected http://… or https://…");
	else if (row->kind == SETTING_TEXT && strlen(text) < (size_t)row->min)
		strbuf_addstr(why, "empty");
	else if (row->kind == SETTING_TEXT && strlen(text) > (size_t)row->max)
		strbuf_printf(why, "too long; expected at most %" PRId64 " bytes", row->max);
	if (why->len)
		return why->data;
	settings_wipe(field);
	*field = xstrdup(text);
	return NULL;
}

static const char *put_log_jobs(const struct setting_row *row, struct settings *settings,
				const char *text, struct strbuf *why)
{
	bool ok = true;
	int64_t n = 1;

	if (strcmp(text, "all") == 0) {
		settings->log_jobs = LOG_JOBS_ALL;
	} else if (strcmp(text, "failures") == 0) {
		settings->log_jobs = LOG_JOBS_FAILURES;
	} else {
		ok = strncmp(text, "1/", 2) == 0;
		if (ok)
			n = number_parse(text + 2, &ok);
		if (!ok || n < row->min || n > row->max) {
			strbuf_printf(why,
				      "expected all, failures, or 1/n with n of %" PRId64
				      "..%" PRId64,
				      row->min, row->max);
			return why->data;
		}
		settings->log_jobs = LOG_JOBS_SAMPLE;
	}
	settings->log_jobs_sample = (int)n;
	return NULL;
}

const char *setting_put(const struct setting_row *row, struct settings *settings, const char *text,
			struct strbuf *why)
{
	void *field = (char *)settings + row->offset;

	strbuf_clear(why);
	switch (row->kind) {
	case SETTING_INT:
	case SETTING_COUNT:
	case SETTING_DURATION:
	case SETTING_SIZE:
		return put_number(row, field, text, why);
	case SETTING_LEVEL:
		if (log_level_parse(text, field) == 0)
			return NULL;
		strbuf_addstr(why, "not a level; expected debug, info, warn or error");
		return why->data;
	case SETTING_LOG_JOBS:
		return put_log_jobs(row, settings, text, why);
	default:
		return put_text(row, field, text, why);
	}
}

static void format_log_jobs(const struct settings *settings, struct strbuf *out)
{
	if (settings->log_jobs == LOG_JOBS_SAMPLE)
		strbuf_printf(out, "1/%d", settings->log_jobs_sample);
	else
		strbuf_addstr(out, settings->log_jobs == LOG_JOBS_ALL ? "all" : "failures");
}

void setting_format(const struct setting_row *row, const struct settings *settings,
		    struct strbuf *out)
{
	static const char *const levels[] = { "debug", "info", "warn", "error", "fatal" };
	const void *field = (const char *)settings + row->offset;
	char text[24];

	switch (row->kind) {
	case SETTING_INT:
		strbuf_addi(out, *(const int *)field);
		break;
	case SETTING_COUNT:
		strbuf_addi(out, *(const int64_t *)field);
		break;
	case SETTING_DURATION:
		strbuf_addstr(out, duration_format(*(const int64_t *)field, text));
		break;
	case SETTING_SIZE:
		strbuf_addstr(out, size_format(*(const int64_t *)field, text));
		break;
	case SETTING_LEVEL:
		strbuf_addstr(out, levels[*(const enum log_level *)field]);
		break;
	case SETTING_LOG_JOBS:
		format_log_jobs(settings, out);
		break;
	default:
		strbuf_addstr(out, *(char *const *)field);
	}
}

const struct setting_row *setting_find(const char *name)
{
	for (size_t i = 0; i < setting_row_count; i++) {
		if (strcmp(setting_rows[i].name, name) == 0)
			return &setting_rows[i];
	}
	return NULL;
}
