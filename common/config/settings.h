/* SPDX-License-Identifier: Apache-2.0 */
/* Settings come from the environment, one row each in settings.c: name, type, default, min, max,
 * unit, one sentence. Validation, `windlass settings` and the documentation come from that row.
 * Secrets also as NAME_FILE or as a systemd credential
 * ($CREDENTIALS_DIRECTORY/NAME); their environment variables are overwritten and removed after
 * reading. */
#ifndef COMMON_CONFIG_SETTINGS_H
#define COMMON_CONFIG_SETTINGS_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/check.h"
#include "common/base/log.h"

enum log_jobs { LOG_JOBS_ALL, LOG_JOBS_FAILURES, LOG_JOBS_SAMPLE };

struct settings {           /* strings are owned here, never NULL unless it says so */
	char *database_url; /* DATABASE_URL, sqlite:windlass.db; secret */
	char *broker_url;   /* BROKER_URL, "": none; see common/config/broker_url.h; secret */
	/* WINDLASS_BROKER_PREFIX, "windlass.": before a queue's name on the broker */
	char *broker_prefix;
	char *broker_group;      /* WINDLASS_BROKER_GROUP, windlass: Kafka consumer group */
	char *broker_ca_file;    /* WINDLASS_BROKER_CA_FILE, "": the system's */
	int64_t detach_after_ms; /* WINDLASS_DETACH_AFTER, 10s */
	/* WINDLASS_DISPATCH_LEASE, 60s: a message that nothing came of is sent again */
	int64_t dispatch_lease_ms;
	char *http_listen;   /* WINDLASS_HTTP_LISTEN, 127.0.0.1:8080 */
	char *admin_listen;  /* WINDLASS_ADMIN_LISTEN; "" when not set: see settings_admin_listen */
	char *tls_cert;      /* WINDLASS_TLS_CERT, "": no TLS; both are set or neither */
	char *tls_key;       /* WINDLASS_TLS_KEY, "" */
	int64_t tls_hsts_ms; /* WINDLASS_TLS_HSTS, 365d; 0: none */
	char *jobs_path;     /* WINDLASS_JOBS, jobs.yaml */
	int workers;         /* WINDLASS_WORKERS, engine processes under `run`, 1 */
	char *pool;          /* WINDLASS_POOL, "": all; of a worker that was started alone */
	char *node;          /* WINDLASS_NODE, "": the host's name */
	int concurrency;     /* WINDLASS_CONCURRENCY, hosts a worker; default cores * 4 */
	int64_t grace_ms;    /* WINDLASS_GRACE, 25s */
	int64_t lease_ms;    /* WINDLASS_LEASE, 30s */
	char *batch_dir;     /* WINDLASS_BATCH_DIR; "": none */
	int64_t body_bytes_max;      /* WINDLASS_BODY_MAX, 256KiB */
	int64_t batch_bytes_max;     /* WINDLASS_BATCH_BODY_MAX, 16MiB */
	int64_t result_bytes_max;    /* WINDLASS_RESULT_MAX, 256KiB */
	int64_t queue_max;           /* WINDLASS_QUEUE_MAX, 1000000 */
	char *graphql_introspection; /* WINDLASS_GRAPHQL_INTROSPECTION, auto, on, off */
	char *graphql_documents;     /* WINDLASS_GRAPHQL_DOCUMENTS, "": any may be run */
	int graphql_depth_max;       /* WINDLASS_GRAPHQL_DEPTH, 10 */
	int graphql_nodes_max;       /* WINDLASS_GRAPHQL_NODES, 500 */
	int graphql_aliases_max;     /* WINDLASS_GRAPHQL_ALIASES, 20 */
	int graphql_tokens_max;      /* WINDLASS_GRAPHQL_TOKENS, 2000 */
	char *scheduler;             /* WINDLASS_SCHEDULER, on, off */
	int64_t keep_ms;             /* WINDLASS_KEEP, 7d */
	int64_t watchers_max;        /* WINDLASS_WATCHERS_MAX, 20000 */
	/* WINDLASS_WATCHERS_PER_CALLER, 1000 */
	int64_t watchers_per_caller;
	int64_t keep_dead_ms; /* WINDLASS_KEEP_DEAD, 30d */
	/* WINDLASS_API_KEYS, "" ; secret. One key a line or ';': id=web hash=<64 hex> tenant=acme
	 * scopes=enqueue:order.*,read */
	char *api_keys;
	char *jwt_issuer;        /* WINDLASS_JWT_ISSUER, "": no tokens */
	char *jwt_audience;      /* WINDLASS_JWT_AUDIENCE, "" */
	char *jwt_jwks;          /* WINDLASS_JWT_JWKS, "": a URL or a file */
	char *jwt_tenant_claim;  /* WINDLASS_JWT_TENANT_CLAIM, tenant */
	char *jwt_rate;          /* WINDLASS_JWT_RATE, "": none; as in a key's rate= */
	int64_t jwt_waiting_max; /* WINDLASS_JWT_WAITING, 0: none */
	char *watch_secret;      /* WINDLASS_WATCH_SECRET, "": one of the store's; secret */
	char *cors_origins;      /* WINDLASS_CORS_ORIGINS, "": exact origins, comma separated */
	char *pages;             /* WINDLASS_PAGES, "": none */
	char *remote_ca_file;    /* WINDLASS_REMOTE_CA_FILE, "": the system's */
	/* WINDLASS_REMOTE_ALLOW, "": networks that guarded calls may go to, see cidr.h */
	char *remote_allow;
	char *webhook_secret;     /* WINDLASS_WEBHOOK_SECRET, "": one or two whsec_…; secret */
	enum log_level log_level; /* WINDLASS_LOG, info */
	enum log_jobs log_jobs;   /* WINDLASS_LOG_JOBS, all | failures | 1/n */
	int log_jobs_sample;      /* the n of 1/n */
	char *url;                /* WINDLASS_URL, http://127.0.0.1:8080 (command line client) */
	char *api_key;            /* WINDLASS_API_KEY, "" (command line client); secret */
	char *url_ca_file;        /* WINDLASS_URL_CA_FILE, "": the system's (command line client) */
	char *grpc_listen;        /* WINDLASS_GRPC_LISTEN, "": no gRPC */
	/* No setting: the files that secrets were read from and the credentials' folder, absolute,
	 * a line each. */
	char *secret_paths;
};

/* Reads and checks all of them. 0, or -1 after printing every problem to `errors`, one a line:
 * "WINDLASS_LEASE=abc: not a duration; expected 1s..1h". Unknown WINDLASS_* names in the
 * environment are problems too. Secrets are wiped from the environment. */
int settings_load(struct settings *settings_r, FILE *errors) must_check;
void settings_release(struct settings *settings); /* wipes secrets */
/* Once, first thing in main: what /proc/PID/environ shows of this process becomes empty; getenv
 * goes on as before. Handlers' secrets are there too, not only ours. */
void settings_conceal_environment(void);
/* The table for `windlass settings`: name, value (secrets as "set"), default, unit, sentence; as
 * text or JSON. */
void settings_print(const struct settings *settings, FILE *out, bool json);
/* Where /metrics and admin routes are served: the setting, else the same address as HTTP while that
 * is loopback, else 127.0.0.1:8081. */
const char *settings_admin_listen(const struct settings *settings);
/* Is this HOST:PORT one that only this machine can reach? By its text: 127.…, [::1], localhost. */
bool settings_listen_loopback(const char *listen);
/* The text of a secret that came out of the file that NAME_FILE names, as the file is now; for
 * settings_wipe. NULL: it came from elsewhere, or the file cannot be read, which is said to
 * `errors`. */
char *settings_read_again(const char *name, FILE *errors);
void settings_wipe(char **text); /* NULL-safe; leaves NULL */
/* Secrets must be gone from the environment of children that do not need them; those of Windlass's
 * own roles are handed over through a sealed memfd: returns its number to be inherited
 * (WINDLASS_SETTINGS_FD=n in the child's environment), read by settings_load. -1 on failure. */
int settings_handover(const struct settings *settings);

#endif
