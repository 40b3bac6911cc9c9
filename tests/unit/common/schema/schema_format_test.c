/* SPDX-License-Identifier: Apache-2.0 */
/* Texts that are in a format, and texts that nearly are. The official suite has many more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/schema/schema_impl.h"

static const struct {
	const char *format, *text;
	bool want;
} cases[] = {
	{ "date-time", "2026-11-23T06:40:00Z", true },
	{ "date-time", "2026-11-23t06:40:00.123+05:30", true },
	{ "date-time", "1998-12-31T15:59:60.5-08:00", true },
	{ "date-time", "1998-12-31T22:59:60Z", false },
	{ "date-time", "2026-02-29T00:00:00Z", false },
	{ "date-time", "2026-11-23 06:40:00Z", false },
	{ "date-time", "2026-11-23T06:40:00", false },
	{ "date", "2024-02-29", true },
	{ "date", "1900-02-29", false },
	{ "date", "2026-13-01", false },
	{ "date", "2026-1-01", false },
	{ "time", "23:59:59Z", true },
	{ "time", "24:00:00Z", false },
	{ "time", "12:00:00", false },
	{ "time", "12:00:00.Z", false },
	{ "duration", "P1Y2M3DT4H5M6S", true },
	{ "duration", "P2W", true },
	{ "duration", "PT0S", true },
	{ "duration", "P", false },
	{ "duration", "P1DT", false },
	{ "duration", "P1Y2W", false },
	{ "duration", "P1YT1S", true },
	{ "duration", "PT1H1S", false },
	{ "duration", "1D", false },
	{ "email", "joe.bloggs@example.com", true },
	{ "email", "\"joe bloggs\"@example.com", true },
	{ "email", "joe@[127.0.0.1]", true },
	{ "email", "joe@[IPv6:::1]", true },
	{ "email", "joe@[::1]", false },
	{ "email", ".joe@example.com", false },
	{ "email", "joe..b@example.com", false },
	{ "email", "joe@exa mple.com", false },
	{ "email", "jo\xc3\xab@example.com", false },
	{ "email", "@example.com", false },
	{ "email", "joe", false },
	{ "idn-email",
	  "jo\xc3\xab@b\xc3\xbc"
	  "cher.example",
	  true },
	{ "hostname", "a-b.example", true },
	{ "hostname", "localhost", true },
	{ "hostname", "-a.example", false },
	{ "hostname", "a..b", false },
	{ "hostname", "a_b", false },
	{ "hostname", "ab--cd", false },
	{ "hostname", "xn--4gbwdl.example", true },
	{ "hostname", "", false },
	{ "ipv4", "192.168.0.1", true },
	{ "ipv4", "192.168.0.256", false },
	{ "ipv4", "192.168.01.1", false },
	{ "ipv4", "1.2.3", false },
	{ "ipv6", "2001:db8::1", true },
	{ "ipv6", "::ffff:1.2.3.4", true },
	{ "ipv6", "fe80::1%eth0", false },
	{ "ipv6", ":::1", false },
	{ "uri", "https://user@example.com:8080/a?b=c#d", true },
	{ "uri", "urn:uuid:1", true },
	{ "uri", "http://[2001:db8::1]:80/", true },
	{ "uri", "http://[1.2.3]/", false },
	{ "uri", "/relative", false },
	{ "uri", "http://a/b c", false },
	{ "uri", "http://a/%zz", false },
	{ "uri", "http://a:b/", false },
	{ "uri", "http://ex\xc3\xa4mple/", false },
	{ "iri", "http://ex\xc3\xa4mple/", true },
	{ "uri-reference", "../a#b", true },
	{ "uri-reference", "a:b/c", true },
	{ "uri-reference", "1a:b", false },
	{ "uri-reference", "\\\\a", false },
	{ "iri-reference", "/\xc3\xa4", true },
	{ "uuid", "2EB8AA08-AA98-11EA-B4AA-73B441D16380", true },
	{ "uuid", "2eb8aa08-aa98-11ea-b4aa-73b441d1638", false },
	{ "uuid", "2eb8aa08aa9811eab4aa73b441d16380----", false },
	{ "json-pointer", "/a~1b/~0", true },
	{ "json-pointer", "a", false },
	{ "json-pointer", "/~2", false },
	{ "relative-json-pointer", "1/a", true },
	{ "relative-json-pointer", "0#", true },
	{ "relative-json-pointer", "01/a", false },
	{ "relative-json-pointer", "/a", false },
	{ "regex", "^a+$", true },
	{ "regex", "a**", false },
};

static void decides(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		format_fn *check = schema_format(cases[i].format);

		assert_non_null(check);
		if (check(cases[i].text, strlen(cases[i].text)) != cases[i].want)
			fail_msg("%s: %s", cases[i].format, cases[i].text);
	}
	assert_null(schema_format("colour"));
}

/* No format has a NUL in it, wherever it stands. */
static void refuses_nul(void **state)
{
	char text[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		size_t bytes = strlen(cases[i].text);

		if (!cases[i].want || bytes == 0 || strcmp(cases[i].format, "json-pointer") == 0 ||
		    strcmp(cases[i].format, "relative-json-pointer") == 0)
			continue;
		memcpy(text, cases[i].text, bytes);
		text[bytes] = '\0';
		if (schema_format(cases[i].format)(text, bytes + 1))
			fail_msg("%s: %s with NUL", cases[i].format, text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decides),
		cmocka_unit_test(refuses_nul),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
