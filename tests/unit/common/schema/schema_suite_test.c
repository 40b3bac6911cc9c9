/* SPDX-License-Identifier: Apache-2.0 */
/* The official JSON-Schema-Test-Suite: every required test of both drafts, read from wherever it
 * is: JSON_SCHEMA_TEST_SUITE, ../shared/json-schema-test-suite, or Debian's package, which has an
 * older draft 7. Says how many verdicts are right; what is not there is skipped. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/schema/schema.h"

#define DEBIAN_SUITE  "/usr/share/json-schema-test-suite"
#define REMOTES_URI   "http://localhost:1234/"
#define DOCUMENTS_MAX 500

struct suite {
	const char *draft; /* folder of its tests */
	struct schema_options options;
	struct schema_document documents[DOCUMENTS_MAX];
	struct arena *arena;
	size_t right, count;
};

static json_t *read_json(const char *path)
{
	json_error_t error;
	json_t *json = json_load_file(path, JSON_ALLOW_NUL, &error);

	if (!json)
		print_message("%s:%d: %s\n", path, error.line, error.text);
	return json;
}

static bool is_folder(const char *path)
{
	struct stat about;

	return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

/* Documents below `folder` get the URIs that the suite's schemas name them by. */
static void add_remotes(struct suite *suite, const char *folder, const char *uri)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		const char *path = arena_printf(suite->arena, "%s/%s", folder, entry->d_name);

		if (*entry->d_name == '.')
			continue;
		if (is_folder(path)) {
			add_remotes(suite, path,
				    arena_printf(suite->arena, "%s%s/", uri, entry->d_name));
			continue;
		}
		assert_true(suite->options.document_count < DOCUMENTS_MAX);
		suite->documents[suite->options.document_count] = (struct schema_document){
			.uri = arena_printf(suite->arena, "%s%s", uri, entry->d_name),
			.json = read_json(path),
		};
		suite->options.document_count +=
			suite->documents[suite->options.document_count].json != NULL;
	}
	if (dir)
		closedir(dir);
}

static void run_group(struct suite *suite, const char *file, const json_t *group)
{
	struct arena *arena = arena_new(0);
	struct schema_faults faults = { 0 };
	struct schema *schema = schema_compile(json_object_get(group, "schema"), "",
					       &suite->options, arena, &faults);
	const json_t *tests = json_object_get(group, "tests");

	for (size_t i = 0; i < json_array_size(tests); i++) {
		const json_t *test = json_array_get(tests, i);
		json_t *data = json_object_get(test, "data");
		bool want = json_is_true(json_object_get(test, "valid"));
		bool right = schema && schema_validate(schema, data, arena, &faults) == want &&
			     schema_accepts(schema, data) == want;

		suite->count++;
		suite->right += right;
		if (!right)
			print_message("# %s/%s: %s: %s: wanted %s: %s %s\n", suite->draft, file,
				      json_string_value(json_object_get(group, "description")),
				      json_string_value(json_object_get(test, "description")),
				      want ? "valid" : "invalid",
				      faults.count ? faults.faults[0].pointer : "",
				      faults.count ? faults.faults[0].message : "");
	}
	schema_free(&schema);
	arena_free(&arena);
}

static void run_folder(struct suite *suite, const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		const char *path = arena_printf(suite->arena, "%s/%s", folder, entry->d_name);
		json_t *groups;

		if (is_folder(path) || !strstr(entry->d_name, ".json"))
			continue;
		groups = read_json(path);
		suite->count += !groups; /* jansson has no whole numbers beyond 64 bits */
		for (size_t i = 0; i < json_array_size(groups); i++)
			run_group(suite, entry->d_name, json_array_get(groups, i));
		json_decref(groups);
	}
	closedir(dir);
}

/* False: the suite is not here. */
static bool run_suite(struct suite *suite, const char *root, const char *draft, const char *below)
{
	const char *folder;

	*suite = (struct suite){ .draft = draft, .arena = arena_new(0) };
	folder = arena_printf(suite->arena, "%s/tests/%s%s", root, draft, below);
	if (!is_folder(folder)) {
		arena_free(&suite->arena);
		return false;
	}
	suite->options.draft = strcmp(draft, "draft7") == 0 ? SCHEMA_DRAFT_7 : SCHEMA_2020_12;
	suite->options.formats = strstr(below, "format") != NULL;
	suite->options.documents = suite->documents;
	add_remotes(suite, arena_printf(suite->arena, "%s/remotes", root), REMOTES_URI);
	run_folder(suite, folder);
	print_message("# figure: JSON Schema suite%s, %s%s %zu/%zu\n",
		      strcmp(root, DEBIAN_SUITE) == 0 ? " of Debian" : "", draft, below,
		      suite->right, suite->count);
	for (size_t i = 0; i < suite->options.document_count; i++)
		json_decref((json_t *)(uintptr_t)suite->documents[i].json);
	arena_free(&suite->arena);
	return true;
}

static const char *suite_root(void)
{
	const char *root = getenv("JSON_SCHEMA_TEST_SUITE");

	return root ? root : "../shared/json-schema-test-suite";
}

static void check_suite(const char *draft, size_t right_min)
{
	struct suite suite;

	if (!run_suite(&suite, suite_root(), draft, "")) {
		print_message("# figure: JSON Schema suite, %s: skipped, %s is not here\n", draft,
			      suite_root());
		skip();
	}
	assert_true(suite.right >= right_min);
}

static void draft_7_of_debian(void **state)
{
	struct suite suite;

	(void)state;
	if (!run_suite(&suite, DEBIAN_SUITE, "draft7", "")) {
		print_message("# figure: JSON Schema suite of Debian: skipped, %s is not here\n",
			      DEBIAN_SUITE);
		skip();
	}
	assert_true(suite.count >= 423);
	assert_int_equal(suite.right, suite.count);
}

static void draft_7(void **state)
{
	(void)state;
	check_suite("draft7", 927);
}

static void draft_2020_12(void **state)
{
	(void)state;
	check_suite("draft2020-12", 1295);
}

/* Missing of what is optional: whole numbers beyond 64 bits, drafts before 7, media types, names of
 * hosts in other scripts, uri-template, look-behind of any length. */
static void optional_parts(void **state)
{
	static const struct {
		const char *draft, *below;
		size_t right_min;
	} parts[] = {
		{ "draft7", "/optional", 103 },
		{ "draft7", "/optional/format", 585 },
		{ "draft2020-12", "/optional", 152 },
		{ "draft2020-12", "/optional/format", 673 },
	};
	struct suite suite;

	(void)state;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (!run_suite(&suite, suite_root(), parts[i].draft, parts[i].below))
			skip();
		assert_true(suite.right >= parts[i].right_min);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(draft_7_of_debian),
		cmocka_unit_test(draft_7),
		cmocka_unit_test(draft_2020_12),
		cmocka_unit_test(optional_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
