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
	assert_string_equal(a->required[1], "what");
	assert_null(a->required[2]);
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
	assert_null(b->required[0]);
	assert_int_equal(b->batch, 1);
	assert_int_equal(b->memory_bytes_max, 512 * 1024 * 1024);
	assert_int_equal(b->hosts_max, 0);
	assert_int_equal(b->sql.rows, -1);
	assert_null(b->exec);
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
	*state = &folder;
	return 0;
}

static int remove_folder(void **state)
{
	static const char *const names[] = { "good.so", "text.so", "run.sh", "data", "jobs.yaml" };
	struct folder *folder = *state;
	char path[128];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder->path, names[i]);
		unlink(path);
	}
	return rmdir(folder->path);
}

static void looks_for_modules_and_programs(void **state)
{
	static const struct {
		const char *handler;
		const char *want; /* NULL: taken */
	} cases[] = {
		{ "module: good.so", NULL },
		{ "exec: [./run.sh]", NULL },
		{ "exec: [sh, -c, exit]", NULL },
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
	assert_null(json_object_get(type, "http")); /* a later part is left out */
	json_decref(schema);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_every_key),
		cmocka_unit_test(has_defaults_for_all_but_the_handler),
		cmocka_unit_test(reads_sql),
		cmocka_unit_test(shares_what_aliases_name),
		cmocka_unit_test(finds_types_among_many),
		cmocka_unit_test(lives_as_long_as_somebody_holds_it),
		cmocka_unit_test_setup_teardown(looks_for_modules_and_programs, make_folder,
						remove_folder),
		cmocka_unit_test(says_that_a_file_cannot_be_read),
		cmocka_unit_test(prints_a_schema),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
