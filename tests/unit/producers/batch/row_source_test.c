/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of files: CSV and NDJSON as people write them, what is rejected, and that a file taken up
 * again at any position gives the same rows. */
#include "producers/batch/row_source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define FILE_NAME "rows"

static char folder[] = "/tmp/windlass-rows-XXXXXX";

static int setup(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path_of(FILE_NAME));
	return rmdir(folder);
}

static struct row_source *open_text(struct batch_definition *definition, const char *text,
				    size_t bytes)
{
	static struct row_source_options options;
	FILE *file = fopen(path_of(FILE_NAME), "w");
	struct row_source *source;
	struct error error;

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, bytes, file), bytes);
	assert_int_equal(fclose(file), 0);
	options.folder = folder;
	definition->kind = BATCH_FILE;
	definition->file = FILE_NAME;
	source = row_source_open(&options, definition, &error);
	assert_non_null(source);
	return source;
}

/* All rows, so many a chunk, each from a position alone; the rejected as "!". */
static void read_all(struct row_source *source, size_t max, struct strbuf *out)
{
	struct row_chunk chunk = { 0 };
	char *position = NULL;
	struct error error;

	while (!chunk.last) {
		struct arena *arena = arena_new(0);

		assert_int_equal(row_source_read(source, position, max, arena, &chunk, &error), 0);
		for (size_t i = 0; i < chunk.count; i++) {
			strbuf_add(out, chunk.rows[i].text, chunk.rows[i].bytes);
			strbuf_addch(out, ';');
		}
		for (int64_t i = 0; i < chunk.rejected; i++)
			strbuf_addch(out, '!');
		free(position);
		position = xstrdup(chunk.position);
		arena_free(&arena);
	}
	free(position);
}

static void files_are_read(void **state)
{
	static const struct {
		bool csv;
		const char *text, *want;
	} cases[] = {
		{ true, "a,b\n1,2\n3,4\n", "{\"a\":\"1\",\"b\":\"2\"};{\"a\":\"3\",\"b\":\"4\"};" },
		{ true, "a\r\n1\r\n\r\n2", "{\"a\":\"1\"};{\"a\":\"2\"};" },
		{ true, "\xef\xbb\xbf\"a\",b\n\"x, \"\"y\"\"\n\",\n",
		  "{\"a\":\"x, \\\"y\\\"\\n\",\"b\":\"\"};" },
		{ true, "a,b\n,\n", "{\"a\":\"\",\"b\":\"\"};" },
		{ true, "a,b\n1\n2,3\n1,2,3\n", "{\"a\":\"2\",\"b\":\"3\"};!!" },
		{ true, "a\n\"x\"y\nz\n", "{\"a\":\"z\"};!" },
		{ true, "a\nz\n\"x", "{\"a\":\"z\"};!" },
		{ true, "a\n", "" },
		{ false, "{\"a\":1}\n\n [2] \r\n\"x\"", "{\"a\":1}; [2];\"x\";" },
		{ false, "{\n1\n{}}\n", "1;!!" },
		{ false, "", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		for (size_t max = 1; max <= 100; max += 99) {
			struct batch_definition definition = { .csv = cases[i].csv };
			struct row_source *source =
				open_text(&definition, cases[i].text, strlen(cases[i].text));
			size_t rejected = 0;
			struct strbuf got;

			strbuf_init(&got);
			strbuf_reserve(&got, 1); /* it is written to */
			read_all(source, max, &got);
			row_source_close(&source);
			/* in small chunks what is rejected comes in between */
			for (size_t at = 0, to = 0; at <= got.len; at++) {
				rejected += got.data[at] == '!';
				if (got.data[at] != '!')
					got.data[to++] = got.data[at];
			}
			size_t rows = strlen(cases[i].want);

			while (rows && cases[i].want[rows - 1] == '!')
				rows--;
			if (strncmp(got.data, cases[i].want, rows) != 0 || got.data[rows] ||
			    rejected != strlen(cases[i].want) - rows)
				fail_msg("%s: got %s and %zu rejected", cases[i].text, got.data,
					 rejected);
			strbuf_release(&got);
		}
}

static void many_rows_in_any_chunks(void **state)
{
	enum { ROWS = 3000 };
	struct strbuf text, want, got;

	(void)state;
	strbuf_init(&text), strbuf_init(&want), strbuf_init(&got);
	strbuf_addstr(&text, "n\n");
	for (int i = 0; i < ROWS; i++) {
		strbuf_printf(&text, "\"%d\n\"\n", i);
		strbuf_printf(&want, "{\"n\":\"%d\\n\"};", i);
	}
	for (size_t max = 7; max <= ROWS; max = max * 3 + 1) {
		struct batch_definition definition = { .csv = true };
		struct row_source *source = open_text(&definition, text.data, text.len);

		strbuf_clear(&got);
		read_all(source, max, &got);
		row_source_close(&source);
		assert_string_equal(got.data, want.data);
	}
	strbuf_release(&text), strbuf_release(&want), strbuf_release(&got);
}

static void what_is_not_there(void **state)
{
	struct row_source_options options = { .folder = folder };
	struct batch_definition definition = { .kind = BATCH_FILE, .file = "none" };
	struct error error;

	(void)state;
	assert_null(row_source_open(&options, &definition, &error));
	assert_int_equal(error.code, ERROR_NOT_FOUND);
	options.folder = "";
	assert_null(row_source_open(&options, &definition, &error));
	assert_int_equal(error.code, ERROR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_are_read),
		cmocka_unit_test(many_rows_in_any_chunks),
		cmocka_unit_test(what_is_not_there),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
