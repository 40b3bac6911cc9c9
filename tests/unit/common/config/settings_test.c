/* SPDX-License-Identifier: Apache-2.0 */
/* Settings: defaults, every kind of value, what is refused and how it is said, secrets from four
 * places, hand-over to a child. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/config/settings.h"

/* All but what the runner tells cmocka. */
static int clear(void)
{
	const char *format = getenv("CMOCKA_MESSAGE_OUTPUT");
	char kept[16] = "STDOUT";

	if (format)
		snprintf(kept, sizeof(kept), "%s", format);
	return clearenv() || setenv("CMOCKA_MESSAGE_OUTPUT", kept, 1);
}

static int clean(void **state)
{
	(void)state;
	return clear();
}

static int load(struct settings *settings, char **said_r)
{
	size_t bytes;
	FILE *errors;
	int rc;

	*said_r = NULL;
	errors = open_memstream(said_r, &bytes);
	rc = settings_load(settings, errors);
	fclose(errors);
	return rc;
}

static void has_defaults(void **state)
{
	struct settings settings;

	(void)state;
	assert_int_equal(settings_load(&settings, stderr), 0);
	assert_string_equal(settings.database_url, "sqlite:windlass.db");
	assert_string_equal(settings.http_listen, "127.0.0.1:8080");
	assert_string_equal(settings_admin_listen(&settings), "127.0.0.1:8080");
	assert_string_equal(settings.jobs_path, "jobs.yaml");
	assert_int_equal(settings.workers, 1);
	assert_true(settings.concurrency >= 4);
	assert_int_equal(settings.grace_ms, 25000);
	assert_int_equal(settings.lease_ms, 30000);
	assert_int_equal(settings.body_bytes_max, 256 * 1024);
	assert_int_equal(settings.batch_bytes_max, 16 * 1024 * 1024);
	assert_int_equal(settings.queue_max, 1000000);
	assert_int_equal(settings.keep_ms, INT64_C(7) * 86400000);
	assert_int_equal(settings.log_level, LOG_INFO);
	assert_int_equal(settings.log_jobs, LOG_JOBS_ALL);
	assert_string_equal(settings.api_keys, "");
	assert_string_equal(settings.broker_url, "");
	assert_string_equal(settings.broker_prefix, "windlass.");
	assert_int_equal(settings.detach_after_ms, 10000);
	assert_int_equal(settings.dispatch_lease_ms, 60000);
	settings_release(&settings);
}

static void takes_values(void **state)
{
	struct settings settings;

	(void)state;
	setenv("DATABASE_URL", "postgresql://u:geheim@h/db", 1);
	setenv("WINDLASS_HTTP_LISTEN", "[::1]:0", 1);
	setenv("WINDLASS_WORKERS", "3", 1);
	setenv("WINDLASS_GRACE", "0", 1);
	setenv("WINDLASS_LEASE", "1.5s", 1);
	setenv("WINDLASS_BODY_MAX", "2048", 1);
	setenv("WINDLASS_LOG", "debug", 1);
	setenv("WINDLASS_LOG_JOBS", "1/100", 1);
	setenv("WINDLASS_REMOTE_ALLOW", "10.1.0.0/16, fd00:1::/32", 1);
	setenv("UNRELATED", "x", 1);
	assert_int_equal(settings_load(&settings, stderr), 0);
	assert_string_equal(settings.database_url, "postgresql://u:geheim@h/db");
	assert_string_equal(settings.http_listen, "[::1]:0");
	assert_int_equal(settings.workers, 3);
	assert_int_equal(settings.grace_ms, 0);
	assert_int_equal(settings.lease_ms, 1500);
	assert_int_equal(settings.body_bytes_max, 2048);
	assert_int_equal(settings.log_level, LOG_DEBUG);
	assert_int_equal(settings.log_jobs, LOG_JOBS_SAMPLE);
	assert_int_equal(settings.log_jobs_sample, 100);
	assert_string_equal(settings.remote_allow, "10.1.0.0/16, fd00:1::/32");
	assert_null(getenv("DATABASE_URL")); /* secrets leave the environment */
	assert_non_null(getenv("WINDLASS_WORKERS"));
	settings_release(&settings);
}

static const struct {
	const char *name, *value, *want;
} refusals[] = {
	{ "WINDLASS_LEASE", "abc", "WINDLASS_LEASE=abc: not a duration; expected 1s..1h\n" },
	{ "WINDLASS_LEASE", "", "WINDLASS_LEASE=: not a duration; expected 1s..1h\n" },
	{ "WINDLASS_LEASE", "10ms", "WINDLASS_LEASE=10ms: out of range; expected 1s..1h\n" },
	{ "WINDLASS_GRACE", "-1s", "WINDLASS_GRACE=-1s: not a duration; expected " },
	{ "WINDLASS_WORKERS", "0", "WINDLASS_WORKERS=0: out of range; expected 1..64\n" },
	{ "WINDLASS_WORKERS", "two", "WINDLASS_WORKERS=two: not a whole number; expected 1..64\n" },
	{ "WINDLASS_WORKERS", "1.5", "WINDLASS_WORKERS=1.5: not a whole number; expected 1..64\n" },
	{ "WINDLASS_WORKERS", " 1", "WINDLASS_WORKERS= 1: not a whole number; expected 1..64\n" },
	{ "WINDLASS_CONCURRENCY", "99999999999999999999",
	  "WINDLASS_CONCURRENCY=99999999999999999999: not a whole number" },
	{ "WINDLASS_BODY_MAX", "1MB", "WINDLASS_BODY_MAX=1MB: not a size; expected 1KiB..16MiB\n" },
	{ "WINDLASS_BODY_MAX", "17MiB",
	  "WINDLASS_BODY_MAX=17MiB: out of range; expected 1KiB..16MiB\n" },
	{ "WINDLASS_HTTP_LISTEN", "8080",
	  "WINDLASS_HTTP_LISTEN=8080: not an address; expected HOST:PORT" },
	{ "WINDLASS_HTTP_LISTEN", "127.0.0.1:99999",
	  "WINDLASS_HTTP_LISTEN=127.0.0.1:99999: not an address" },
	{ "WINDLASS_HTTP_LISTEN", "1.2.3:80", "WINDLASS_HTTP_LISTEN=1.2.3:80: not an address" },
	{ "WINDLASS_HTTP_LISTEN", "[::x]:80", "WINDLASS_HTTP_LISTEN=[::x]:80: not an address" },
	{ "WINDLASS_HTTP_LISTEN", "a b:80", "WINDLASS_HTTP_LISTEN=a b:80: not an address" },
	{ "WINDLASS_HTTP_LISTEN", "", "WINDLASS_HTTP_LISTEN=: empty; expected HOST:PORT\n" },
	{ "WINDLASS_JOBS", "", "WINDLASS_JOBS=: empty\n" },
	{ "WINDLASS_LOG", "loud",
	  "WINDLASS_LOG=loud: not a level; expected debug, info, warn or error\n" },
	{ "WINDLASS_LOG_JOBS", "1/0", "WINDLASS_LOG_JOBS=1/0: expected all, failures, or 1/n" },
	{ "WINDLASS_LOG_JOBS", "some", "WINDLASS_LOG_JOBS=some: expected all, failures, or 1/n" },
	{ "WINDLASS_URL", "localhost",
	  "WINDLASS_URL=localhost: not a URL; expected http://… or https://…\n" },
	{ "DATABASE_URL", "mysql://u:geheim@h",
	  "DATABASE_URL: not a database URL; expected sqlite:PATH" },
	{ "DATABASE_URL", "sqlite:", "DATABASE_URL: not a database URL" },
	{ "WINDLASS_WORKER", "2",
	  "WINDLASS_WORKER: unknown setting; did you mean WINDLASS_WORKERS?" },
	{ "WINDLASS_FOO", "2", "WINDLASS_FOO: unknown setting; `windlass settings` lists them\n" },
	{ "WINDLASS_XYZZY", "2",
	  "WINDLASS_XYZZY: unknown setting; `windlass settings` lists them\n" },
	{ "WINDLASS_GRACE_FILE", "x", "WINDLASS_GRACE_FILE: unknown setting" },
	{ "WINDLASS_REMOTE_ALLOW", "10.0.0.0/8, intranet",
	  "WINDLASS_REMOTE_ALLOW=10.0.0.0/8, intranet: \"intranet\" is not a network; expected "
	  "networks such as 10.1.0.0/16, fd00:1::/32\n" },
	{ "WINDLASS_REMOTE_ALLOW", "10.0.0.1/8",
	  "WINDLASS_REMOTE_ALLOW=10.0.0.1/8: \"10.0.0.1/8\" has bits set behind its prefix" },
	{ "WINDLASS_WEBHOOK_SECRET", "geheim",
	  "WINDLASS_WEBHOOK_SECRET: a key does not begin with whsec_; expected whsec_ and "
	  "base64\n" },
	{ "WINDLASS_WEBHOOK_SECRET", "whsec_geheim",
	  "WINDLASS_WEBHOOK_SECRET: a key is not 24 to 64 bytes in base64 after whsec_\n" },
	{ "BROKER_URL", "redis://u:geheim@x",
	  "BROKER_URL: not the URL of a broker; expected amqp://" },
	{ "BROKER_URL", "amqp://u:geheim@h",
	  "BROKER_URL: the password would go unencrypted to another machine" },
	{ "WINDLASS_DETACH_AFTER", "1ms", "WINDLASS_DETACH_AFTER=1ms: out of range; expected " },
	{ "WINDLASS_BROKER_GROUP", "", "WINDLASS_BROKER_GROUP=: empty\n" },
	{ "DATABASE_URL_FILE", "/nowhere",
	  "DATABASE_URL_FILE=/nowhere: cannot read it: No such file or directory\n" },
	{ "WINDLASS_SETTINGS_FD", "999",
	  "WINDLASS_SETTINGS_FD=999: cannot read it: Bad file descriptor\n" },
};

static void refuses(void **state)
{
	int wrong = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
		struct settings settings;
		char *said;

		clear();
		setenv(refusals[i].name, refusals[i].value, 1);
		if (load(&settings, &said) == 0) {
			settings_release(&settings);
			wrong++;
			print_error("%s=%s was taken\n", refusals[i].name, refusals[i].value);
		} else if (strncmp(said, refusals[i].want, strlen(refusals[i].want)) != 0 ||
			   strstr(said, "geheim")) {
			wrong++;
			print_error("got:  %swant: %s\n", said, refusals[i].want);
		}
		free(said);
	}
	assert_int_equal(wrong, 0);
}

static void tells_all_problems(void **state)
{
	struct settings settings;
	char *said;

	(void)state;
	setenv("WINDLASS_LEASE", "x", 1);
	setenv("WINDLASS_GRACE", "x", 1);
	setenv("WINDLASS_NONE", "x", 1);
	assert_int_equal(load(&settings, &said), -1);
	assert_non_null(strstr(said, "WINDLASS_LEASE=x: "));
	assert_non_null(strstr(said, "WINDLASS_GRACE=x: "));
	assert_non_null(strstr(said, "WINDLASS_NONE: "));
	free(said);
}

static void reads_secrets_from_files(void **state)
{
	char path[] = "/tmp/settings_test.XXXXXX", *said;
	int fd = mkstemp(path);
	struct settings settings;

	(void)state;
	assert_true(fd >= 0 && write(fd, "id=a hash=b\nid=c\r\n", 18) == 18);
	setenv("WINDLASS_API_KEYS_FILE", path, 1);
	assert_int_equal(settings_load(&settings, stderr), 0);
	assert_string_equal(settings.api_keys, "id=a hash=b\nid=c");
	settings_release(&settings);
	setenv("WINDLASS_API_KEYS", "x", 1);
	assert_int_equal(load(&settings, &said), -1);
	assert_string_equal(
		said,
		"WINDLASS_API_KEYS_FILE: WINDLASS_API_KEYS is set as well; expected one of them\n");
	free(said);
	close(fd);
	unlink(path);
}

static void reads_secrets_from_credentials(void **state)
{
	char folder[] = "/tmp/settings_test.XXXXXX", path[96];
	struct settings settings;
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/WINDLASS_API_KEY", folder);
	file = fopen(path, "w");
	fputs("wl_a_b\n", file);
	fclose(file);
	setenv("CREDENTIALS_DIRECTORY", folder, 1);
	assert_int_equal(settings_load(&settings, stderr), 0);
	assert_string_equal(settings.api_key, "wl_a_b");
	assert_string_equal(settings.api_keys, "");
	settings_release(&settings);
	unlink(path);
	rmdir(folder);
}

static void hands_over(void **state)
{
	struct settings settings, child;
	char number[16];
	int fd;

	(void)state;
	setenv("DATABASE_URL", "postgresql://u:geheim@h/db", 1);
	setenv("WINDLASS_API_KEYS", "id=a\nid=b", 1);
	setenv("BROKER_URL", "amqps://u:geheim@h", 1);
	setenv("WINDLASS_LEASE", "2500ms", 1);
	setenv("WINDLASS_LOG_JOBS", "1/7", 1);
	assert_int_equal(settings_load(&settings, stderr), 0);
	fd = settings_handover(&settings);
	assert_true(fd > 2);
	assert_int_equal(write(fd, "x", 1), -1); /* sealed */
	clear();
	snprintf(number, sizeof(number), "%d", fd);
	setenv("WINDLASS_SETTINGS_FD", number, 1);
	setenv("WINDLASS_LEASE", "9s", 1); /* what was handed over wins */
	assert_int_equal(settings_load(&child, stderr), 0);
	assert_string_equal(child.database_url, settings.database_url);
	assert_string_equal(child.api_keys, "id=a\nid=b");
	assert_string_equal(child.broker_url, "amqps://u:geheim@h");
	assert_int_equal(child.lease_ms, 2500);
	assert_int_equal(child.log_jobs_sample, 7);
	assert_int_equal(child.concurrency, settings.concurrency);
	assert_null(getenv("WINDLASS_SETTINGS_FD"));
	settings_release(&child);
	settings_release(&settings);
}

static void prints_no_secret(void **state)
{
	for (int json = 0; json < 2; json++) {
		struct settings settings;
		char *text = NULL;
		size_t bytes;
		FILE *out = open_memstream(&text, &bytes);

		setenv("DATABASE_URL", "postgresql://u:geheim@h/db", 1);
		setenv("WINDLASS_API_KEY", "geheim", 1);
		setenv("BROKER_URL", "kafka://u:geheim@127.0.0.1", 1);
		assert_int_equal(settings_load(&settings, stderr), 0);
		settings_print(&settings, out, json);
		fclose(out);
		assert_null(strstr(text, "geheim"));
		assert_non_null(strstr(text, json ? "\"name\":\"DATABASE_URL\",\"value\":\"set\""
						  : "DATABASE_URL=set\n"));
		assert_non_null(strstr(text, json ? "\"name\":\"WINDLASS_LEASE\",\"value\":\"30s\""
						  : "WINDLASS_LEASE=30s\n"));
		settings_release(&settings);
		free(text);
	}
	(void)state;
}

static void knows_the_admin_address(void **state)
{
	static const struct {
		const char *http, *admin, *want;
	} cases[] = {
		{ "127.0.0.1:9", NULL, "127.0.0.1:9" },      { "localhost:9", NULL, "localhost:9" },
		{ "0.0.0.0:9", NULL, "127.0.0.1:8081" },     { "[::]:9", NULL, "127.0.0.1:8081" },
		{ "0.0.0.0:9", "10.0.0.1:7", "10.0.0.1:7" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct settings settings;

		clear();
		setenv("WINDLASS_HTTP_LISTEN", cases[i].http, 1);
		if (cases[i].admin)
			setenv("WINDLASS_ADMIN_LISTEN", cases[i].admin, 1);
		assert_int_equal(settings_load(&settings, stderr), 0);
		assert_string_equal(settings_admin_listen(&settings), cases[i].want);
		settings_release(&settings);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(has_defaults, clean),
		cmocka_unit_test_setup(takes_values, clean),
		cmocka_unit_test_setup(refuses, clean),
		cmocka_unit_test_setup(tells_all_problems, clean),
		cmocka_unit_test_setup(reads_secrets_from_files, clean),
		cmocka_unit_test_setup(reads_secrets_from_credentials, clean),
		cmocka_unit_test_setup(hands_over, clean),
		cmocka_unit_test_setup(prints_no_secret, clean),
		cmocka_unit_test_setup(knows_the_admin_address, clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
