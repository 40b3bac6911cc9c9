/* SPDX-License-Identifier: Apache-2.0 */
/* `windlass doctor`: looks at everything that is wrong on machines again and again, and says for
 * each what to do. A table of examinations; changes nothing. */
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/strbuf.h"
#include "common/config/definitions.h"
#include "common/config/settings.h"
#include "common/job/webhook_signature.h"
#include "common/store/completion.h"
#include "common/store/sql_value.h"
#include "common/store/store.h"
#include "producers/gateway/access.h"
#include "producers/gateway/certificate.h"

#include "cli/command.h"
#include "cli/doctor.h"
#include "cli/table.h"

#define CLOCK_OFF_MS_MAX    2000
#define DISK_FREE_BYTES_MIN (256.0 * 1024 * 1024)
#define FILES_BESIDE_HOSTS  1200 /* connections, pipes of the gateway and libraries */
#define FILES_PER_HOST      8

void doctor_say(struct doctor *doctor, enum finding finding, const char *fmt, ...)
{
	static const char *const names[] = { "good", "doubtful", "wrong" };
	struct arena *arena = arena_new(0);
	va_list args;
	const char *text;

	va_start(args, fmt);
	text = arena_vprintf(arena, fmt, args);
	va_end(args);
	if (doctor->json)
		json_array_append_new(doctor->findings,
				      json_pack("{s:s, s:s, s:s}", "subject", doctor->subject,
						"finding", names[finding], "text", text));
	else
		table_row(doctor->table,
			  (const char *const[]){ doctor->subject, names[finding], text });
	if (finding > doctor->worst)
		doctor->worst = finding;
	arena_free(&arena);
}

/* What a checker prints, as findings, a line each. */
static void say_lines(struct doctor *doctor, char *lines)
{
	char *rest = lines;

	for (char *line = strtok_r(rest, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		doctor_say(doctor, WRONG, "%s", line);
}

static bool examine_settings(struct doctor *doctor)
{
	char *lines = NULL;
	size_t bytes;
	FILE *errors = open_memstream(&lines, &bytes);
	bool good = settings_load(&doctor->settings, errors) == 0;

	fclose(errors);
	doctor->subject = "settings";
	if (good)
		doctor_say(doctor, FINE, "all within their limits");
	else
		say_lines(doctor, lines);
	free(lines);
	return good;
}

static void examine_definitions(struct doctor *doctor)
{
	char *lines = NULL;
	size_t bytes;
	FILE *errors = open_memstream(&lines, &bytes);
	struct definitions *defs = definitions_open(&doctor->settings, errors);

	fclose(errors);
	if (defs)
		doctor_say(doctor, FINE, "%s: %zu job types", doctor->settings.jobs_path,
			   definitions_type_count(defs));
	else
		say_lines(doctor, lines);
	doctor->defs = defs;
	free(lines);
}

static void examine_access(struct doctor *doctor)
{
	struct error error;
	bool open = false, loopback = settings_listen_loopback(doctor->settings.http_listen);

	if (access_check(&doctor->settings, &open, &error) < 0)
		doctor_say(doctor, WRONG, "%s", error.message);
	else if (open && !loopback)
		doctor_say(
			doctor, WRONG,
			"WINDLASS_HTTP_LISTEN=%s is open to other machines and there are no keys: make one with `windlass key new`, or listen on 127.0.0.1",
			doctor->settings.http_listen);
	else if (open)
		doctor_say(doctor, FINE, "no keys; %s answers this machine only",
			   doctor->settings.http_listen);
	else
		doctor_say(doctor, FINE, "API keys or tokens are asked for");
	if (!settings_listen_loopback(settings_admin_listen(&doctor->settings)))
		doctor_say(
			doctor, DOUBTFUL,
			"metrics and admin routes listen on %s: see that a firewall keeps others off",
			settings_admin_listen(&doctor->settings));
}

static void examine_certificate(struct doctor *doctor)
{
	struct tls_pair *pair;
	struct error error;
	char text[120];

	if (certificate_load(&doctor->settings, &pair, &error) < 0) {
		doctor_say(doctor, WRONG, "%s", error.message);
		return;
	}
	if (!pair && !settings_listen_loopback(doctor->settings.http_listen))
		doctor_say(
			doctor, DOUBTFUL,
			"%s is served without TLS: set WINDLASS_TLS_CERT and WINDLASS_TLS_KEY, or see that a proxy with TLS stands in front of it",
			doctor->settings.http_listen);
	else if (!pair)
		doctor_say(doctor, FINE, "none; %s answers this machine only",
			   doctor->settings.http_listen);
	if (!pair)
		return;
	enum certificate_state state = certificate_state(
		tls_pair_starts_s(pair), tls_pair_ends_s(pair), clock_wall_ms() / 1000);
	certificate_say(state, pair, text, sizeof(text));
	doctor_say(doctor,
		   state == CERTIFICATE_GOOD     ? FINE
		   : state == CERTIFICATE_ENDING ? DOUBTFUL
						 : WRONG,
		   "%s%s", text,
		   state == CERTIFICATE_GOOD
			   ? ""
			   : ": put a new one into WINDLASS_TLS_CERT's file and send SIGHUP");
	tls_pair_unref(&pair);
}

static void examine_webhooks(struct doctor *doctor)
{
	struct webhook_keys keys;
	struct error error;

	if (webhook_keys_parse(doctor->settings.webhook_secret, &keys, &error) < 0)
		doctor_say(doctor, WRONG, "WINDLASS_WEBHOOK_SECRET: %s", error.message);
	else if (!keys.count)
		doctor_say(
			doctor, FINE,
			"there are none, and callback_url is refused: WINDLASS_WEBHOOK_SECRET, which signs them, is not set");
	else
		doctor_say(doctor, FINE, "signed with %zu key%s", keys.count,
			   keys.count > 1 ? "s: take the old one out when receivers have the new"
					  : "");
	webhook_keys_wipe(&keys);
}

static void examine_store(struct doctor *doctor)
{
	const char *url = doctor->settings.database_url;
	struct error error;
	int have, want;

	if (strncmp(url, "sqlite:", 7) == 0 && access(url + 7, F_OK) != 0) {
		doctor_say(doctor, FINE, "%s is not there yet; the first start makes it", url + 7);
		return;
	}
	if (store_open(doctor->settings.database_url, STORE_READ, "doctor", &doctor->store,
		       &error) != 0 ||
	    store_ping(doctor->store, &error) != 0) {
		doctor->server_away = true;
		doctor_say(doctor, WRONG, "%s: is the server up, and DATABASE_URL right?",
			   error.message);
		store_close(&doctor->store);
		return;
	}
	if (store_schema(doctor->store, &have, &want, &error) != 0)
		doctor_say(doctor, WRONG, "%s", error.message);
	else if (have > want)
		doctor_say(doctor, WRONG,
			   "schema %d is newer than this program's %d: install the newer Windlass",
			   have, want);
	else if (have < want)
		doctor_say(
			doctor, DOUBTFUL,
			"schema %d, needed is %d: run `windlass migrate`, or start Windlass, which does it",
			have, want);
	else
		doctor_say(doctor, FINE, "%s, schema %d", store_label(doctor->store), have);
}

/* Clients make ids by their clocks and people read ours; leases go by the database's. */
static void examine_clock(struct doctor *doctor)
{
	static const struct sql_statement now = {
		.sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint",
		.rows = SQL_ROWS_ANY
	};
	struct error error;
	struct strbuf answer;
	json_t *parsed;
	int64_t off_ms;

	if (!doctor->store || store_is_sqlite(doctor->store))
		return;
	strbuf_init(&answer);
	if (reader_query(doctor->store, &now, 4096, &answer, &error) != 0) {
		doctor_say(doctor, DOUBTFUL, "the database does not tell its time: %s",
			   error.message);
	} else {
		parsed = json_loads(answer.data, 0, NULL);
		off_ms = clock_wall_ms() -
			 json_integer_value(json_array_get(
				 json_array_get(json_object_get(parsed, "rows"), 0), 0));
		json_decref(parsed);
		if (off_ms > CLOCK_OFF_MS_MAX || off_ms < -CLOCK_OFF_MS_MAX)
			doctor_say(doctor, WRONG,
				   "this machine's clock is %" PRId64
				   " ms off the database's: let NTP set both",
				   off_ms);
		else
			doctor_say(doctor, FINE, "%" PRId64 " ms off the database's", off_ms);
	}
	strbuf_release(&answer);
}

static void examine_disk(struct doctor *doctor)
{
	const char *url = doctor->settings.database_url;
	struct statvfs about;
	char directory[4096];
	char *slash;
	double free_bytes;

	if (strncmp(url, "sqlite:", 7) != 0 || strlen(url) >= sizeof(directory))
		return;
	snprintf(directory, sizeof(directory), "%s", url + 7);
	slash = strrchr(directory, '/');
	if (slash)
		slash[slash == directory] = 0;
	else
		snprintf(directory, sizeof(directory), ".");
	if (statvfs(directory, &about) != 0) {
		doctor_say(doctor, WRONG, "%s, where the store shall lie, is not there: make it",
			   directory);
		return;
	}
	free_bytes = (double)about.f_bavail * (double)about.f_frsize;
	doctor_say(doctor, free_bytes < DISK_FREE_BYTES_MIN ? WRONG : FINE, "%.1f GiB free in %s%s",
		   free_bytes / (1024.0 * 1024 * 1024), directory,
		   free_bytes < DISK_FREE_BYTES_MIN ? ": jobs are refused when it is full" : "");
}

static void examine_limits(struct doctor *doctor)
{
	rlim_t needed = FILES_BESIDE_HOSTS + FILES_PER_HOST * (rlim_t)doctor->settings.concurrency;
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return;
	if (files.rlim_max < needed)
		doctor_say(
			doctor, DOUBTFUL,
			"%llu open files allowed, %llu are wanted: raise ulimit -n or LimitNOFILE=",
			(unsigned long long)files.rlim_max, (unsigned long long)needed);
	else
		doctor_say(doctor, FINE, "%llu open files allowed",
			   (unsigned long long)files.rlim_cur);
}

static const struct {
	const char *subject;
	void (*examine)(struct doctor *doctor);
} examinations[] = {
	{ "definitions", examine_definitions },
	{ "access", examine_access },
	{ "certificate", examine_certificate },
	{ "webhooks", examine_webhooks },
	{ "store", examine_store },
	{ "clock", examine_clock },
	{ "broker", doctor_examine_broker },
	{ "files", doctor_examine_files },
	{ "hosts", doctor_examine_hosts },
	{ "disk", examine_disk },
	{ "limits", examine_limits },
};

static int conclude(struct doctor *doctor)
{
	if (doctor->json) {
		json_dumpf(doctor->findings, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(doctor->findings);
	} else {
		table_print(&doctor->table);
	}
	if (doctor->worst < WRONG)
		return EX_OK;
	return doctor->server_away ? EX_UNAVAILABLE : EX_CONFIG;
}

int command_doctor(const struct command *command, int argc, char **argv)
{
	static const char *const headings[] = { "SUBJECT", "FINDING", "WHAT" };
	struct doctor doctor = { .worst = FINE };

	if (!command_json(command, argc, argv, 0, &doctor.json))
		return EX_USAGE;
	doctor.findings = doctor.json ? json_array() : NULL;
	doctor.table = doctor.json ? NULL : table_new(headings, ARRAY_LEN(headings));
	if (examine_settings(&doctor)) {
		for (size_t i = 0; i < ARRAY_LEN(examinations); i++) {
			doctor.subject = examinations[i].subject;
			examinations[i].examine(&doctor);
		}
	}
	store_close(&doctor.store);
	if (doctor.defs)
		definitions_unref(&doctor.defs);
	settings_release(&doctor.settings);
	return conclude(&doctor);
}
