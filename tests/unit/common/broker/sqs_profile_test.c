/* SPDX-License-Identifier: Apache-2.0 */
/* Files of AWS tools as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/broker/sqs_profile.h"

static struct sqs_profile read_text(const char *text, const char *name)
{
	struct sqs_profile profile;

	memset(&profile, 0, sizeof(profile));
	sqs_profile_read(text, strlen(text), name, &profile);
	return profile;
}

static void reads(void **state)
{
	static const struct {
		const char *label, *text, *name, *id, *secret, *token, *region;
	} cases[] = {
		{ "plain", "[default]\naws_access_key_id=A\naws_secret_access_key=b/+=\n",
		  "default", "A", "b/+=", "", "" },
		{ "blanks", "[ default ]\r\n AWS_x=1\r\naws_access_key_id  =\tA \r\n", "default",
		  "A", "", "", "" },
		{ "upper case", "[default]\nAWS_ACCESS_KEY_ID = A\nRegion = eu-west-1", "default",
		  "A", "", "", "eu-west-1" },
		{ "another section", "[a]\naws_access_key_id=A\n[b]\naws_access_key_id=B\n[c]\n",
		  "b", "B", "", "", "" },
		{ "profile prefix", "[profile b]\nregion = us-east-2\n", "b", "", "", "",
		  "us-east-2" },
		{ "a profile of that name", "[profile]\nregion = r\n", "profile", "", "", "", "r" },
		{ "comments", "# x\n[default] ; y\n;aws_access_key_id=X\naws_access_key_id=A # z\n",
		  "default", "A", "", "", "" },
		{ "a hash inside", "[default]\naws_secret_access_key=a#b;c\n", "default", "",
		  "a#b;c", "", "" },
		{ "the first counts", "[default]\nregion=a\nregion=b\n", "default", "", "", "",
		  "a" },
		{ "nested settings", "[default]\ns3 =\n  region = no\nregion = yes\n", "default",
		  "", "", "", "yes" },
		{ "token", "[default]\naws_session_token = t/+==\n", "default", "", "",
		  "t/+==", "" },
		{ "before any section", "aws_access_key_id=A\n[x]\n", "default", "", "", "", "" },
		{ "broken", "[default\nregion\n=\n==\n[]\n]\n[default]\n=x\nregion=r", "default",
		  "", "", "", "r" },
		{ "empty", "", "default", "", "", "", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct sqs_profile got = read_text(cases[i].text, cases[i].name);

		if (strcmp(got.key_id, cases[i].id) || strcmp(got.secret, cases[i].secret) ||
		    strcmp(got.token, cases[i].token) || strcmp(got.region, cases[i].region))
			fail_msg("%s: %s %s %s %s", cases[i].label, got.key_id, got.secret,
				 got.token, got.region);
	}
}

static void tells_what_it_cannot_do(void **state)
{
	struct sqs_profile got = read_text("[a]\nrole_arn = x\n[b]\nregion = y\n", "a");

	(void)state;
	assert_true(got.found && got.indirect);
	got = read_text("[a]\nrole_arn = x\n[b]\nregion = y\n", "b");
	assert_true(got.found && !got.indirect);
	got = read_text("[a]\nrole_arn = x\n", "c");
	assert_true(!got.found && !got.indirect);
}

static void two_files_make_one(void **state)
{
	struct sqs_profile got = read_text("[a]\naws_access_key_id=A\n", "a");
	static const char config[] = "[profile a]\naws_access_key_id=B\nregion=r\n";

	(void)state;
	sqs_profile_read(config, sizeof(config) - 1, "a", &got);
	assert_string_equal(got.key_id, "A");
	assert_string_equal(got.region, "r");
	sqs_profile_wipe(&got);
	assert_string_equal(got.key_id, "");
}

static void too_long_is_absent(void **state)
{
	struct sqs_profile got;
	char *text = xcalloc(1, 6000);

	(void)state;
	strncpy(text, "[a]\naws_session_token=", 6000);
	memset(text + strlen(text), 't', 5000);
	got = read_text(text, "a");
	assert_true(got.found);
	assert_string_equal(got.token, "");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads),
		cmocka_unit_test(tells_what_it_cannot_do),
		cmocka_unit_test(two_files_make_one),
		cmocka_unit_test(too_long_is_absent),
	};

	return cmocka_run_group_tests_name("sqs_profile", tests, NULL, NULL);
}
