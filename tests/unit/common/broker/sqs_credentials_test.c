/* SPDX-License-Identifier: Apache-2.0 */
/* Where a container's credentials may be fetched, and when they are fetched anew. The places
 * themselves are tried against the stub: tests/integration/sqs_faults_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/broker/sqs_credentials.h"

static void container_urls(void **state)
{
	static const struct {
		const char *relative, *full, *want; /* NULL: refused */
	} cases[] = {
		{ "/v2/credentials/x", NULL, "http://169.254.170.2/v2/credentials/x" },
		{ "/a", "https://elsewhere/", "http://169.254.170.2/a" },
		{ "@evil/x", NULL, NULL },
		{ NULL, "https://anywhere.example/x", "https://anywhere.example/x" },
		{ NULL, "http://127.0.0.1:1234/x", "http://127.0.0.1:1234/x" },
		{ NULL, "http://localhost/x", "http://localhost/x" },
		{ NULL, "http://[::1]:80/", "http://[::1]:80/" },
		{ NULL, "http://169.254.170.23/v1/credentials",
		  "http://169.254.170.23/v1/credentials" },
		{ NULL, "http://127.0.0.1.evil.example/", NULL },
		{ NULL, "http://127.0.0.1@evil.example/", NULL },
		{ NULL, "http://elsewhere/", NULL },
		{ NULL, "file:///etc/passwd", NULL },
		{ NULL, "http://localhost/a b", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct error error;
		struct strbuf url;
		int rc;

		strbuf_init(&url);
		rc = sqs_container_url(cases[i].relative, cases[i].full, &url, &error);
		if (cases[i].want) {
			assert_int_equal(rc, 0);
			assert_string_equal(url.data, cases[i].want);
		} else if (rc == 0) {
			fail_msg("%s was allowed", url.data);
		}
		strbuf_release(&url);
	}
}

static void renewal(void **state)
{
	const int64_t minute = 60000;

	(void)state;
	assert_int_equal(sqs_renew_at(0, 60 * minute), 55 * minute);
	assert_int_equal(sqs_renew_at(0, 11 * minute), 6 * minute);
	assert_int_equal(sqs_renew_at(0, 10 * minute), 5 * minute);
	assert_int_equal(sqs_renew_at(0, 2 * minute), minute);
	assert_int_equal(sqs_renew_at(minute, minute), minute);
	assert_int_equal(sqs_renew_at(2 * minute, minute), 2 * minute);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(container_urls),
		cmocka_unit_test(renewal),
	};

	return cmocka_run_group_tests_name("sqs_credentials", tests, NULL, NULL);
}
