/* SPDX-License-Identifier: Apache-2.0 */
/* Which URLs are taken as they are, get sslmode=verify-full, or are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/store/postgres/safe_url.h"

#define VERIFY "sslmode=verify-full"

static const struct {
	const char *url, *safe; /* NULL: refused */
	const char *why;
} cases[] = {
	/* this machine */
	{ "postgresql:///db", "postgresql:///db", NULL },
	{ "postgresql://u@127.0.0.1/db", "postgresql://u@127.0.0.1/db", NULL },
	{ "postgresql://u@127.9.9.9:5/db", "postgresql://u@127.9.9.9:5/db", NULL },
	{ "postgres://u@localhost/db", "postgres://u@localhost/db", NULL },
	{ "postgresql://u@[::1]/db", "postgresql://u@[::1]/db", NULL },
	{ "postgresql://u@%2Frun%2Fpg/db", "postgresql://u@%2Frun%2Fpg/db", NULL },
	{ "postgresql:///db?host=/run/pg", "postgresql:///db?host=/run/pg", NULL },
	{ "postgresql://u@localhost/db?sslmode=disable",
	  "postgresql://u@localhost/db?sslmode=disable", NULL },
	{ "postgresql://a,b/db?hostaddr=127.0.0.1,127.0.0.2",
	  "postgresql://a,b/db?hostaddr=127.0.0.1,127.0.0.2", NULL },
	/* another one */
	{ "postgresql://u:p@db.example/x", "postgresql://u:p@db.example/x?" VERIFY, NULL },
	{ "postgresql://u@db.example", "postgresql://u@db.example?" VERIFY, NULL },
	{ "postgresql://u@10.0.0.1/x?sslrootcert=/ca.pem",
	  "postgresql://u@10.0.0.1/x?sslrootcert=/ca.pem&" VERIFY, NULL },
	{ "postgresql://u@h/x?" VERIFY, "postgresql://u@h/x?" VERIFY, NULL },
	{ "postgresql://localhost,h/x", "postgresql://localhost,h/x?" VERIFY, NULL },
	{ "postgresql:///x?host=h", "postgresql:///x?host=h&" VERIFY, NULL },
	{ "postgresql://localhost/x?hostaddr=10.0.0.1",
	  "postgresql://localhost/x?hostaddr=10.0.0.1&" VERIFY, NULL },
	{ "postgresql://u@[2001:db8::1]/x", "postgresql://u@[2001:db8::1]/x?" VERIFY, NULL },
	{ "postgresql://127.0.0.1.example/x", "postgresql://127.0.0.1.example/x?" VERIFY, NULL },
	{ "postgresql://localhost.example/x", "postgresql://localhost.example/x?" VERIFY, NULL },
	/* less than that is refused */
	{ "postgresql://u:geheim@h/x?sslmode=disable", NULL, "sslmode=disable" },
	{ "postgresql://u:geheim@h/x?sslmode=allow", NULL, "sslmode=allow" },
	{ "postgresql://u:geheim@h/x?sslmode=prefer", NULL, "sslmode=prefer" },
	{ "postgresql://u:geheim@h/x?sslmode=require", NULL, "insecure=true" },
	{ "postgresql://u:geheim@h/x?sslmode=verify-ca", NULL, "verify-full" },
	{ "postgresql://u:geheim@localhost,h/x?sslmode=require", NULL, "sslmode=require" },
	{ "postgresql://u:geheim@h/x?sslmode=disable&insecure=false", NULL, "insecure" },
	{ "postgresql://u:geheim@h/x?sslmode=disable&insecure=TRUE", NULL, "insecure" },
	{ "postgresql://u:geheim@[::1]x/y", NULL, "not a PostgreSQL URL" },
	{ "postgresql://u:geheim@h/x?sslmod=disable", NULL, "sslmod" },
	/* unless it is said */
	{ "postgresql://u@h/x?insecure=true", "postgresql://u@h/x", NULL },
	{ "postgresql://u@h/x?insecure=true&sslmode=disable", "postgresql://u@h/x?sslmode=disable",
	  NULL },
	{ "postgresql://u@h/x?sslmode=require&insecure=true", "postgresql://u@h/x?sslmode=require",
	  NULL },
	{ "postgresql://u@h/x?a=b&insecure=true", NULL, "\"a\"" },
	{ "postgresql://u@h?sslmode=prefer&insecure=true&port=5",
	  "postgresql://u@h?sslmode=prefer&port=5", NULL },
};

static void urls(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct error error = { .code = ERROR_NONE };
		char *safe = postgres_safe_url(cases[i].url, &error);

		if (!safe != !cases[i].safe || (safe && strcmp(safe, cases[i].safe) != 0))
			fail_msg("%s became %s (%s)", cases[i].url, safe ? safe : "refused",
				 safe ? "" : error.message);
		if (!safe) {
			assert_int_equal(error.code, ERROR_INVALID);
			assert_non_null(strstr(error.message, cases[i].why));
			assert_null(strstr(error.message, "geheim"));
		}
		free(safe);
	}
	print_message(
		"# table security {\"area\": \"TLS\", \"requirement\": \"PostgreSQL on another "
		"machine: verify-full, less only with insecure=true\", \"cases\": %zu}\n",
		ARRAY_LEN(cases));
}

/* libpq takes a host that the URL does not name from its own variables. */
static void the_environment(void **state)
{
	struct error error;
	char *safe;

	(void)state;
	setenv("PGHOST", "db.example", 1);
	safe = postgres_safe_url("postgresql://u@/x", &error);
	assert_string_equal(safe, "postgresql://u@/x?" VERIFY);
	free(safe);
	setenv("PGSSLMODE", "disable", 1);
	safe = postgres_safe_url("postgresql://u@h/x", &error);
	assert_string_equal(safe, "postgresql://u@h/x?" VERIFY);
	free(safe);
	unsetenv("PGHOST");
	unsetenv("PGSSLMODE");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls),
		cmocka_unit_test(the_environment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
