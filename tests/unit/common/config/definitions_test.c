/* SPDX-License-Identifier: Apache-2.0 */
/* Definition files that are taken: what each key becomes, defaults, aliases, queues; files that
 * modules and programs must be; the schema. */
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
#include <jansson.h>

#include "common/base/check.h"
#include "common/config/definitions.h"

static struct definitions *parse(const char *text)
{
	struct definitions *defs = definitions_parse(text, strlen(text), "jobs.yaml", stderr);

	assert_non_null(defs);
	return defs;
}

static void reads_every_key(void **state)
{
	struct definitions *defs = parse("queues:\n"
					 "  slow: {max: 5}\n"
					 "  idle:\n"
					 "jobs:\n"
					 "  a:\n"
					 "    queue: slow\n"
					 "    exec: [python3, -u, 8, x y]\n"
					 "    payload: {required: [who, what]}\n"
					 "    result_schema: {type: object}\n"
					 "    priority: low\n"
					 "    retry: {max_attempts: 3, base: 250ms, cap: 1m}\n"
					 "    timeout: 90\n"
					 "    on_discard: b\n"
					 "    env: [PAY_URL, _X1]\n"
					 "    batch: 16\n"
					 "    memory: 64MiB\n"
					 "    concurrency: 2\n"
					 "  b: {module: lib/b.so}\n");
	const struct job_type *a = definitions_type(defs, "a"), *b = definitions_type(defs, "b");

	(void)state;
	assert_int_equal(definitions_type_count(defs), 2);
	assert_ptr_equal(definitions_type_at(defs, 1), b);
	assert_int_equal(b->index, 1);
	assert_string_equal(a->queue, "slow");
	assert_int_equal(a->kind, HANDLER_EXEC);
	assert_string_equal(a->exec[0], "python3");
	assert_string_equal(a->exec[2], "8");
	assert_string_equal(a->exec[3], "x y");
	assert_null(a->exec[4]);
	assert_non_null(a->payload_schema);
	assert_non_null(a->result_schema);
	assert_int_equal(a->priority, PRIORITY_LOW);
	assert_int_equal(a->retry.max_attempts, 3);
	assert_int_equal(a->retry.base_ms, 250);
	assert_int_equal(a->retry.cap_ms, 60000);
	assert_int_equal(a->timeout_ms, 90000);
	assert_string_equal(a->on_discard, "b");
	assert_string_equal(a->env[1], "_X1");
	assert_int_equal(a->batch, 16);
	assert_int_equal(a->memory_bytes_max, 64 * 1024 * 1024);
	assert_int_equal(a->hosts_max, 2);
	assert_int_equal(definitions_queue_count(defs), 3);
	assert_int_equal(definitions_queue(defs, "slow")->depth_max, 5);
	assert_int_equal(definitions_queue(defs, "idle")->depth_max, 0);
	assert_non_null(definitions_queue(defs, "default"));
	assert_null(definitions_queue(defs, "other"));
	assert_null(definitions_type(defs, "c"));
	definitions_unref(&defs);
}

static void has_defaults_for_all_but_the_handler(void **state)
{
	struct definitions *defs = parse("jobs: {b: {module: lib/b.so}}\n");
	const struct job_type *b = definitions_type_at(defs, 0);

	(void)state;
	assert_int_equal(b->kind, HANDLER_MODULE);
	assert_int_equal(b->module[0], '/');
	assert_non_null(strstr(b->module, "/lib/b.so"));
	assert_int_equal(b->directory[0], '/');
	assert_string_equal(b->queue, "default");
	assert_int_equal(b->priority, PRIORITY_NORMAL);
	assert_int_equal(b->retry.max_attempts, 20);
	assert_int_equal(b->retry.base_ms, 2000);
	assert_int_equal(b->retry.cap_ms, 3600000);
	assert_int_equal(b->timeout_ms, 60000);
	assert_null(b->on_discard);
	assert_null(b->env[0]);
	assert_null(b->payload_schema);
	assert_null(b->result_schema);
	assert_int_equal(b->batch, 1);
	assert_int_equal(b->memory_bytes_max, 512 * 1024 * 1024);
	assert_int_equal(b->hosts_max, 0);
	assert_int_equal(b->sql.rows, -1);
	assert_null(b->exec);
	definitions_unref(&defs);
}

static void reads_what_brokers_need(void **state)
{
	struct definitions *defs = parse(
		"queues:\n"
		"  slow: {order: key, broker: {topic: t, partitions: 12, type: classic, fifo: true}}\n"
		"  fast: {order: none, broker: {type: quorum, fifo: false}}\n"
		"jobs:\n"
		"  a: {exec: [sh], result: {to: r, exchange: e, key: payload.a.b}, detach_after: 2s}\n"
		"  b: {exec: [sh], record: failures}\n"
		"  c: {exec: [sh], record: all}\n"
		"sources:\n"
		"  s: {topic: x.y, type: a, start: latest, order: key, identity: at_least_once,\n"
		"      prefetch: 50, broker: {partitions: 3, type: classic, fifo: true}}\n"
		"  events: {topic: z}\n");
	const struct queue_definition *slow = definitions_queue(defs, "slow"),
				      *fast = definitions_queue(defs, "fast");
	const struct job_type *a = definitions_type(defs, "a");
	const struct source_definition *s = definitions_source(defs, "s"),
				       *events = definitions_source(defs, "events");

	(void)state;
	assert_true(slow->ordered && slow->classic && slow->fifo);
	assert_string_equal(slow->topic, "t");
	assert_int_equal(slow->partitions, 12);
	assert_false(fast->ordered || fast->classic || fast->fifo);
	assert_null(fast->topic);
	assert_string_equal(a->result_topic, "r");
	assert_string_equal(a->result_exchange, "e");
	assert_string_equal(a->result_key, "payload.a.b");
	assert_int_equal(a->detach_after_ms, 2000);
	assert_false(a->record_failures);
	assert_true(definitions_type(defs, "b")->record_failures);
	assert_false(definitions_type(defs, "c")->record_failures);
	assert_null(definitions_type(defs, "c")->result_topic);
	assert_int_equal(definitions_source_count(defs), 2);
	assert_ptr_equal(definitions_source_at(defs, 1), events);
	assert_string_equal(s->topic, "x.y");
	assert_string_equal(s->type, "a");
	assert_true(s->latest && s->ordered && s->identity_at_least_once && s->classic && s->fifo);
	assert_int_equal(s->partitions, 3);
	assert_int_equal(s->prefetch, 50);
	assert_true(definitions_queue(defs, a->queue)->ordered); /* or a retry is overtaken */
	assert_null(events->type);
	assert_false(events->latest || events->ordered || events->identity_at_least_once);
	assert_null(definitions_source(defs, "t"));
	definitions_unref(&defs);
}

static void checks_names_for_a_broker(void **state)
{
#define HEAD "jobs: {a: {exec: [sh], queue: 'a:b'}}\n"
	static const struct {
		enum broker_kind kind;
		const char *text, *want; /* NULL: good */
	} cases[] = {
		{ BROKER_KAFKA, HEAD, NULL },
		{ BROKER_SQS, HEAD "sources: {s: {topic: x.fifo}}\n", NULL },
		{ BROKER_AMQP, HEAD "sources: {s: {topic: 'x y/z'}}\n", NULL },
		{ BROKER_KAFKA, HEAD "sources: {s: {topic: 'x y'}}\n",
		  "jobs.yaml:2:11: source `s`: `x y` is not a name on the broker; expected at most 249" },
		{ BROKER_SQS, HEAD "sources: {s: {topic: x.y}}\n",
		  "jobs.yaml:2:11: source `s`: `x.y` is not a name on the broker" },
		{ BROKER_AMQP, HEAD "sources: {s: {topic: amq.x}}\n",
		  "jobs.yaml:2:11: source `s`" },
		{ BROKER_KAFKA, HEAD "queues: {'a.b': {}, a-b: {}}\n",
		  "jobs.yaml:1:1: queue `a:b` and queue `a-b` are both `w.a-b` on the broker" },
		{ BROKER_SQS, HEAD "queues: {'a.b': {}}\n",
		  "jobs.yaml:1:1: queue `a:b` and queue `a.b` are both `w-a-b` on the broker" },
		{ BROKER_AMQP, HEAD "queues: {dead: {}}\n",
		  "jobs.yaml:2:10: queue `dead` and the place of `dead letters` are both `w.dead`" },
		{ BROKER_KAFKA, "jobs: {a: {exec: [sh], result: {to: r, exchange: e}}}\n",
		  "jobs.yaml:1:8: results of `a`: only RabbitMQ has exchanges" },
		{ BROKER_SQS, "jobs: {a: {exec: [sh], result: {to: a.b}}}\n",
		  "jobs.yaml:1:8: results of `a`: `a.b` is not a name" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct definitions *defs = parse(cases[i].text);
		char *said = NULL;
		size_t bytes;
		FILE *errors = open_memstream(&said, &bytes);
		int rc = definitions_check_broker(defs, cases[i].kind, "w.", errors);

		fclose(errors);
		if ((rc == 0) != !cases[i].want ||
		    (cases[i].want && strncmp(said, cases[i].want, strlen(cases[i].want)) != 0))
			fail_msg("%s: %s", cases[i].text, said);
		free(said);
		definitions_unref(&defs);
	}
}

static void says_what_needs_a_broker(void **state)
{
	struct definitions *defs = parse("jobs:\n"
					 "  a: {exec: [sh], result: {to: r}}\n"
					 "sources: {s: {topic: t, type: a}}\n");
	char *said = NULL;
	size_t bytes;
	FILE *out = open_memstream(&said, &bytes);

	(void)state;
	definitions_say_idle(defs, out);
	fclose(out);
	assert_string_equal(
		said, "jobs.yaml:3:11: source `s` is not read: BROKER_URL is not set\n"
		      "jobs.yaml:2:3: results of `a` wait in the store: BROKER_URL is not set\n");
	free(said);
	definitions_unref(&defs);
}

static void reads_sql(void **state)
{
	struct definitions *defs =
		parse("jobs:\n"
		      "  s:\n"
		      "    env: [SITE]\n"
		      "    rows: 1\n"
		      "    sql: INSERT INTO t VALUES (${job.id}, ${payload.a.b}, ${env.SITE})\n");
	const struct job_type *s = definitions_type(defs, "s");

	(void)state;
	assert_int_equal(s->kind, HANDLER_SQL);
	assert_int_equal(s->sql.rows, 1);
	assert_string_equal(s->sql.sql, "INSERT INTO t VALUES ($1, $2, $3)");
	assert_int_equal(s->sql.source_count, 3);
	assert_string_equal(s->sql.sources[1], "payload.a.b");
	definitions_unref(&defs);
}

static void shares_what_aliases_name(void **state)
{
	struct definitions *defs = parse("jobs:\n"
					 "  a: {sql: SELECT 1, retry: &r {max_attempts: 7}}\n"
					 "  b: {sql: SELECT 1, retry: *r}\n");

	(void)state;
	assert_int_equal(definitions_type(defs, "b")->retry.max_attempts, 7);
	definitions_unref(&defs);
}

static void finds_types_among_many(void **state)
{
	char *text = malloc(200000), *at = text + sprintf(text, "jobs:\n"), name[32];
	struct definitions *defs;

	(void)state;
	for (int i = 0; i < 2000; i++)
		at += sprintf(at, "  t%d: {sql: SELECT 1}\n", i * 7919 % 2000);
	defs = parse(text);
	for (int i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "t%d", i);
		assert_string_equal(definitions_type(defs, name)->name, name);
	}
	definitions_unref(&defs);
	free(text);
}

static void lives_as_long_as_somebody_holds_it(void **state)
{
	struct definitions *defs = parse("jobs: {a: {sql: SELECT 1}}\n"),
			   *other = definitions_ref(defs);

	(void)state;
	definitions_unref(&defs);
	assert_null(defs);
	assert_string_equal(definitions_type_at(other, 0)->name, "a");
	definitions_unref(&other);
}

/* ---- files */

struct folder {
	char path[64], jobs[96];
};

static void write_file(const struct folder *folder, const char *name, const char *text, mode_t mode)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder->path, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	chmod(path, mode);
}

static int make_folder(void **state)
{
	static struct folder folder;

	strcpy(folder.path, "/tmp/definitions_test.XXXXXX");
	if (!mkdtemp(folder.path))
		return -1;
	snprintf(folder.jobs, sizeof(folder.jobs), "%s/jobs.yaml", folder.path);
	write_file(&folder, "good.so", "\177ELF and so on", 0644);
	write_file(&folder, "text.so", "#!/bin/sh\n", 0644);
	write_file(&folder, "run.sh", "#!/bin/sh\n", 0755);
	write_file(&folder, "data", "x", 0644);
	write_file(&folder, "good.json", "{\"properties\":{\"n\":{\"type\":\"integer\"}}}", 0644);
	write_file(&folder, "bad.json",
		   "{\"properties\":{\"n\":{\"minimum\":[]}},\"$ref\":\"http://x/y\"}", 0644);
	write_file(&folder, "broken.json", "{\n  \"a\":}", 0644);
	*state = &folder;
	return 0;
}

static int remove_folder(void **state)
{
	static const char *const names[] = { "good.so",   "text.so",   "run.sh",   "data",
					     "jobs.yaml", "good.json", "bad.json", "broken.json" };
	struct folder *folder = *state;
	char path[128];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder->path, names[i]);
		unlink(path);
	}
	return rmdir(folder->path);
}

static void looks_into_files(void **state)
{
	static const struct {
		const char *handler;
		const char *want; /* NULL: taken */
	} cases[] = {
		{ "module: good.so", NULL },
		{ "exec: [./run.sh]", NULL },
		{ "exec: [sh, -c, exit]", NULL },
		{ "exec: [sh], payload: good.json, result_schema: good.json", NULL },
		{ "exec: [sh], payload: none.json", "jobs.yaml:2:28: `payload`: cannot read " },
		{ "exec: [sh], payload: broken.json",
		  "jobs.yaml:2:28: `payload`: broken.json:2:7: " },
		{ "exec: [sh], payload: bad.json",
		  "jobs.yaml:2:28: `payload`: bad.json#/properties/n/minimum: must be a number\n" },
		{ "exec: [sh], payload: bad.json",
		  "bad.json#/$ref: \"http://x/y\" is not known, and nothing is fetched\n" },
		{ "exec: [sh], result_schema: bad.json",
		  "jobs.yaml:2:34: `result_schema`: bad.json#/properties/n/minimum" },
		{ "module: none.so", ":2:15: `module`: cannot read " },
		{ "module: text.so", ":2:15: `module`: " },
		{ "exec: [./none.sh]", ":2:13: `exec`: " },
		{ "exec: [./data]", ":2:13: `exec`: " },
		{ "exec: [./]", ":2:13: `exec`: " },
		{ "exec: [no-such-program-here]",
		  ":2:13: `exec`: no program `no-such-program-here` in PATH" },
		{ "exec: [run.sh]",
		  ":2:13: `exec`: no program `run.sh` in PATH; did you mean `./run.sh`?" },
	};
	const struct folder *folder = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[256], *said = NULL;
		size_t bytes;
		FILE *errors = open_memstream(&said, &bytes);
		struct definitions *defs;

		snprintf(text, sizeof(text), "jobs:\n  a: {%s }\n", cases[i].handler);
		write_file(folder, "jobs.yaml", text, 0644);
		defs = definitions_load(folder->jobs, errors);
		fclose(errors);
		if (!defs != !!cases[i].want)
			fail_msg("%s: %s", cases[i].handler, said);
		if (cases[i].want && !strstr(said, cases[i].want))
			fail_msg("%s: got %s want %s", cases[i].handler, said, cases[i].want);
		definitions_unref(&defs);
		free(said);
	}
}

static void says_that_a_file_cannot_be_read(void **state)
{
	char *said = NULL;
	size_t bytes;
	FILE *errors = open_memstream(&said, &bytes);

	(void)state;
	assert_null(definitions_load("/nowhere/jobs.yaml", errors));
	assert_null(definitions_load("/", errors));
	fclose(errors);
	assert_non_null(
		strstr(said, "/nowhere/jobs.yaml:1:1: cannot read it: No such file or directory"));
	assert_non_null(strstr(said, "/:1:1: cannot read it: Is a directory"));
	free(said);
}

static void prints_a_schema(void **state)
{
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);
	json_t *schema, *type;

	(void)state;
	definitions_schema(out);
	fclose(out);
	schema = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(schema);
	type = json_object_get(
		json_object_get(json_object_get(json_object_get(schema, "properties"), "jobs"),
				"additionalProperties"),
		"properties");
	assert_non_null(json_object_get(type, "timeout"));
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(type, "queue"), "default")),
		"default");
	assert_null(json_object_get(type, "inline")); /* a later part is left out */
	type = json_object_get(json_object_get(json_object_get(schema, "properties"), "sources"),
			       "additionalProperties");
	assert_string_equal(json_string_value(json_array_get(json_object_get(type, "required"), 0)),
			    "topic");
	json_decref(schema);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_every_key),
		cmocka_unit_test(has_defaults_for_all_but_the_handler),
		cmocka_unit_test(reads_what_brokers_need),
		cmocka_unit_test(checks_names_for_a_broker),
		cmocka_unit_test(says_what_needs_a_broker),
		cmocka_unit_test(reads_sql),
		cmocka_unit_test(shares_what_aliases_name),
		cmocka_unit_test(finds_types_among_many),
		cmocka_unit_test(lives_as_long_as_somebody_holds_it),
		cmocka_unit_test_setup_teardown(looks_into_files, make_folder, remove_folder),
		cmocka_unit_test(says_that_a_file_cannot_be_read),
		cmocka_unit_test(prints_a_schema),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
