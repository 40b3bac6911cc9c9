/* SPDX-License-Identifier: Apache-2.0 */
/* Sees to it that a password and jobs do not go readable, or to whoever answers, over a network.
 * libpq's own default (sslmode=prefer) does both. Called once for each store and bell. */
#include "common/store/postgres/safe_url.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "common/base/arena.h"
#include "common/base/strbuf.h"

#define INSECURE "insecure=true"
#define VERIFIED "sslmode=verify-full"

/* Copies the URL without the option; true when it was there. */
static bool take_insecure(const char *url, struct strbuf *out)
{
	const char *query = strchr(url, '?');
	bool found = false;
	char before = '?';

	strbuf_add(out, url, query ? (size_t)(query - url) : strlen(url));
	while (query) {
		const char *option = query + 1;
		size_t bytes = strcspn(option, "&");
		bool is_it = bytes == strlen(INSECURE) && strncmp(option, INSECURE, bytes) == 0;

		found |= is_it;
		if (!is_it) {
			strbuf_addch(out, before);
			strbuf_add(out, option, bytes);
			before = '&';
		}
		query = option[bytes] ? option + bytes : NULL;
	}
	return found;
}

static bool is_local(const char *host, size_t bytes)
{
	char text[64];
	struct in6_addr v6;
	struct in_addr v4;

	if (bytes == 0 || *host == '/' || *host == '@')
		return true; /* a socket of this machine */
	if (bytes >= sizeof(text))
		return false;
	memcpy(text, host, bytes);
	text[bytes] = '\0';
	if (strcmp(text, "localhost") == 0)
		return true;
	if (inet_pton(AF_INET, text, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, text, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* A list, as libpq takes it: each must be local. */
static bool all_local(const char *hosts)
{
	while (hosts) {
		size_t bytes = strcspn(hosts, ",");

		if (!is_local(hosts, bytes))
			return false;
		hosts = hosts[bytes] ? hosts + bytes + 1 : NULL;
	}
	return true;
}

static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
	for (; options && options->keyword; options++) {
		if (strcmp(options->keyword, keyword) == 0)
			return options->val && *options->val ? options->val : NULL;
	}
	return NULL;
}

/* Of the URL, else of the environment. hostaddr, where given, is what is connected to. */
static bool goes_elsewhere(const PQconninfoOption *url, const PQconninfoOption *defaults)
{
	const char *address = value_of(url, "hostaddr"), *host = value_of(url, "host");

	if (!address && !host) {
		address = value_of(defaults, "hostaddr");
		host = value_of(defaults, "host");
	}
	return !all_local(address ? address : host);
}

static PQconninfoOption *parse(const char *url, struct error *err_r)
{
	char *why = NULL;
	PQconninfoOption *options = PQconninfoParse(url, &why);
	/* libpq may quote the whole URL, and with it the password. */
	bool tell = why && !strstr(why, "://");

	if (!options)
		error_set(err_r, ERROR_INVALID, "not a PostgreSQL URL%s%.*s", tell ? ": " : "",
			  tell ? (int)strcspn(why, "\n") : 0, tell ? why : "");
	PQfreemem(why);
	return options;
}

/* *verify_r: it has to be added that the server must prove who it is. */
static int judge(const PQconninfoOption *options, bool *verify_r, struct error *err_r)
{
	PQconninfoOption *defaults = PQconndefaults();
	const char *mode = value_of(options, "sslmode");
	bool elsewhere = goes_elsewhere(options, defaults);

	PQconninfoFree(defaults);
	*verify_r = elsewhere && !mode;
	if (!elsewhere || !mode || strcmp(mode, "verify-full") == 0)
		return 0;
	return error_set(err_r, ERROR_INVALID,
			 "DATABASE_URL: with sslmode=%s whoever stands between can read or answer; "
			 "use sslmode=verify-full and sslrootcert=FILE, or say insecure=true",
			 mode);
}

char *postgres_safe_url(const char *url, struct error *err_r)
{
	PQconninfoOption *options;
	bool insecure, verify = false;
	struct strbuf safe;
	int rc = -1;

	strbuf_init(&safe);
	insecure = take_insecure(url, &safe);
	options = parse(safe.data, err_r);
	if (options)
		rc = insecure ? 0 : judge(options, &verify, err_r);
	PQconninfoFree(options);
	if (verify)
		strbuf_printf(&safe, "%c" VERIFIED, strchr(safe.data, '?') ? '&' : '?');
	if (rc == 0)
		return strbuf_take(&safe);
	explicit_bzero(safe.data, safe.len);
	strbuf_release(&safe);
	return NULL;
}
