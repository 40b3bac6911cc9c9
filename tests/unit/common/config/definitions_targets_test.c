/* SPDX-License-Identifier: Apache-2.0 */
/* `targets:` of a definitions file: what each key becomes, and the files that are refused, with the
 * place. A secret that stands in the file is not told again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/config/definitions.h"

#define JOB "jobs: {a: {sql: SELECT 1}}\n"

static struct definitions *parse(const char *text, FILE *errors)
{
	return definitions_parse(text, strlen(text), "/etc/jobs.yaml", errors);
}

static void reads_every_key(void **state)
{
	struct definitions *defs = parse(
		JOB "targets:\n"
		    "  pay:\n"
		    "    url: \"${env.PAY_URL}/v1\"\n"
		    "    rate: 120/m\n"
		    "    concurrency: 2000\n"
		    "    waiting: 10\n"
		    "    timeout: 5s\n"
		    "    connect_timeout: 250ms\n"
		    "    breaker: {failures: 3, percent: 20, window: 1s, cooldown: 2s}\n"
		    "    retry_budget: 25\n"
		    "    tls: {ca: ca.pem, cert: \"${env.CERT}\", key: /k.pem}\n"
		    "    auth: {oauth2: {token_url: https://id/token, client_id: \"${env.ID}\","
		    " client_secret: \"${env.SECRET}\", scope: a b}}\n"
		    "    http2: false\n"
		    "  mail: {url: https://mail.example:8443, rate: 1800/h, breaker: {off: true},"
		    " auth: {basic: {user: me, password: \"${env.PASSWORD}\"}}}\n"
		    "  sms: {url: \"http://sms/$${x}\", auth: {bearer: \"${env.TOKEN}\"}}\n",
		stderr);
	const struct target_definition *pay, *mail, *sms;

	(void)state;
	assert_non_null(defs);
	assert_int_equal(definitions_target_count(defs), 3);
	pay = definitions_target(defs, "pay");
	mail = definitions_target_at(defs, 1);
	sms = definitions_target(defs, "sms");
	assert_null(definitions_target(defs, "other"));
	assert_string_equal(pay->url, "${env.PAY_URL}/v1");
	assert_true(pay->rate_per_s == 2 && mail->rate_per_s == 0.5 && sms->rate_per_s == 0);
	assert_int_equal(pay->concurrency, 2000);
	assert_int_equal(pay->waiting_max, 10);
	assert_int_equal(pay->timeout_ms, 5000);
	assert_int_equal(pay->connect_timeout_ms, 250);
	assert_int_equal(pay->breaker_failures, 3);
	assert_int_equal(pay->breaker_percent, 20);
	assert_int_equal(pay->breaker_window_ms, 1000);
	assert_int_equal(pay->breaker_cooldown_ms, 2000);
	assert_false(pay->breaker_off);
	assert_int_equal(pay->retry_percent, 25);
	assert_string_equal(pay->tls_ca, "/etc/ca.pem");
	assert_string_equal(pay->tls_cert, "${env.CERT}");
	assert_string_equal(pay->tls_key, "/k.pem");
	assert_string_equal(pay->scope, "a b");
	assert_string_equal(pay->client_secret, "${env.SECRET}");
	assert_false(pay->http2);
	assert_string_equal(pay->env[0], "PAY_URL");
	assert_string_equal(pay->env[1], "CERT");
	assert_string_equal(pay->env[2], "ID");
	assert_string_equal(pay->env[3], "SECRET");
	assert_null(pay->env[4]);
	assert_string_equal(mail->name, "mail");
	assert_int_equal(mail->concurrency, 64);
	assert_int_equal(mail->waiting_max, 256);
	assert_int_equal(mail->retry_percent, 10);
	assert_true(mail->http2 && mail->breaker_off);
	assert_string_equal(mail->basic_user, "me");
	assert_string_equal(sms->bearer, "${env.TOKEN}");
	assert_string_equal(sms->env[0], "TOKEN");
	assert_null(sms->env[1]);
	definitions_unref(&defs);
}

#define TARGET(members) JOB "targets: {t: {" members "}}\n"
static const struct {
	const char *text;
	const char *want; /* the beginning of the first message, after the file's name */
} cases[] = {
	{ JOB "targets: 1\n", "2:10: bad value `1` of `targets`; expected a map" },
	{ JOB "targets: {t: x}\n", "2:14: bad value `x` of `t`; expected a map" },
	{ TARGET("rate: 1/s"), "2:14: `url` is missing" },
	{ TARGET("url: ftp://x"), "2:20: `url`: expected http:// or https://" },
	{ TARGET("url: https://"), "2:20: `url`: it has no host" },
	{ TARGET("url: https://u:p@h/"), "2:20: `url`: it has a user name" },
	{ TARGET("url: https://h/?a=b"), "2:20: `url`: it has a query" },
	{ TARGET("url: \"https://${payload.h}/\""),
	  "2:20: bad value `https://${payload.h}/` of `url`; expected ${env.NAME}" },
	{ TARGET("url: \"https://${env.A\""), "2:20: bad value `https://${env.A` of `url`" },
	{ TARGET("url: \"${env.WINDLASS_API_KEYS}\""),
	  "2:20: bad value `${env.WINDLASS_API_KEYS}` of `url`; expected a variable that is not" },
	{ TARGET("url: \"${env.DATABASE_URL}\""),
	  "2:20: bad value `${env.DATABASE_URL}` of `url`; expected a variable that is not" },
	{ TARGET("url: https://h, rate: 5"), "2:37: bad value `5` of `rate`; expected a number" },
	{ TARGET("url: https://h, rate: 0/s"), "2:37: bad value `0/s` of `rate`" },
	{ TARGET("url: https://h, rate: 1e9/s"), "2:37: bad value `1e9/s` of `rate`" },
	{ TARGET("url: https://h, rate: 0x5/s"), "2:37: bad value `0x5/s` of `rate`" },
	{ TARGET("url: https://h, rate: 9999999/s"), "2:37: bad value `9999999/s` of `rate`" },
	{ TARGET("url: https://h, concurrency: 0"), "2:44: bad value `0` of `concurrency`" },
	{ TARGET("url: https://h, ambiguous: never"), "2:42: bad value `never` of `ambiguous`" },
	{ TARGET("url: https://h, ambiguous: lookup"), "2:42: `ambiguous: lookup` needs `lookup`" },
	{ TARGET("url: https://h, lookup: {url: https://h/}"),
	  "2:39: `lookup` has no meaning without `ambiguous: lookup`" },
	{ TARGET("url: https://h, ambiguous: lookup, lookup: {url: \"https://${job.id}/\"}"),
	  "2:64: `lookup`: what comes from a job cannot stand in front of the path" },
	{ TARGET("url: https://h, proxy: http://p"),
	  "2:31: `proxy` is not available in this version" },
	{ TARGET("url: https://h, auth: {}"), "2:37: `auth` has 0 ways; expected one of bearer" },
	{ TARGET("url: https://h, auth: {bearer: hunter2}"),
	  "2:46: bad value of `bearer`; expected ${env.NAME}; a secret does not stand" },
	{ TARGET("url: https://h, auth: {bearer: \"x${env.A}\"}"),
	  "2:46: bad value of `bearer`; expected ${env.NAME}; a secret does not stand" },
	{ TARGET("url: https://h, auth: {bearer: \"${env.A}hunter2\"}"),
	  "2:46: bad value of `bearer`; expected ${env.NAME}; a secret does not stand" },
	{ TARGET("url: https://h, auth: {basic: {user: u, password: hunter2}}"),
	  "2:65: bad value of `password`; expected ${env.NAME}; a secret does not stand" },
	{ TARGET("url: https://h, auth: {basic: {user: u}}"), "2:45: `password` is missing" },
	{ TARGET("url: https://h, auth: {oauth2: {token_url: https://i, client_id: i,"
		 " client_secret: hunter2}}"),
	  "2:98: bad value of `client_secret`; expected ${env.NAME}; a secret does not stand" },
	{ TARGET("url: https://h, auth: {oauth2: {token_url: i, client_id: i,"
		 " client_secret: \"${env.S}\"}}"),
	  "2:58: `token_url`: expected http:// or https://" },
	{ TARGET("url: https://h, auth: {bearer: \"${env.A}\", basic: {user: u, password:"
		 " \"${env.B}\"}}"),
	  "2:37: `auth` has 2 ways; expected one of bearer, basic, oauth2" },
	{ TARGET("url: https://h, tls: {cert: c.pem}"),
	  "2:36: `tls`: `cert` and `key` belong together" },
};

static void refuses_with_the_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *said = NULL;
		size_t bytes;
		FILE *errors = open_memstream(&said, &bytes);
		const char *prefix = "/etc/jobs.yaml:";

		assert_null(parse(cases[i].text, errors));
		fclose(errors);
		if (strncmp(said, prefix, strlen(prefix)) != 0 ||
		    strncmp(said + strlen(prefix), cases[i].want, strlen(cases[i].want)) != 0)
			fail_msg("%s\n  said: %s  want: %s", cases[i].text, said, cases[i].want);
		assert_null(strstr(said, "hunter2"));
		free(said);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_every_key),
		cmocka_unit_test(refuses_with_the_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
