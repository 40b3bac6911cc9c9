/* SPDX-License-Identifier: Apache-2.0 */
/* Takes BROKER_URL apart, strictly: what is not understood is refused, since a typing error in an
 * option must not make a connection less safe. Messages never show the URL, which holds a password.
 * Pure. */
#include "common/config/broker_url.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strbuf.h"
#include "common/base/utf8.h"

#define FOR_AMQP  (1u << BROKER_AMQP)
#define FOR_KAFKA (1u << BROKER_KAFKA)
#define FOR_SQS   (1u << BROKER_SQS)

#define HEARTBEAT_MAX 3600
#define MESSAGE_MIN   4096
#define MESSAGE_MAX   (512 << 20)

static const struct scheme {
	const char *prefix;
	enum broker_kind kind;
	int port;
	bool tls;
} schemes[] = {
	{ "amqp://", BROKER_AMQP, 5672, false },
	{ "amqps://", BROKER_AMQP, 5671, true },
	{ "kafka://", BROKER_KAFKA, 9092, false },
	{ "sqs://", BROKER_SQS, 0, false },
};

/* NULL: it fits, else what was expected. */
typedef const char *value_fn(const char *value);

static const char *one_of(const char *value, const char *const *words, const char *expected)
{
	for (; *words; words++) {
		if (strcmp(value, *words) == 0)
			return NULL;
	}
	return expected;
}

static const char *security_value(const char *value)
{
	static const char *const words[] = { "plaintext", "ssl", "sasl_plaintext", "sasl_ssl",
					     NULL };

	return one_of(value, words, "plaintext, ssl, sasl_plaintext or sasl_ssl");
}

static const char *mechanism_value(const char *value)
{
	static const char *const words[] = { "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", NULL };

	return one_of(value, words, "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512");
}

static const char *insecure_value(const char *value)
{
	static const char *const words[] = { "true", "false", NULL };

	return one_of(value, words, "true or false");
}

static bool within(const char *value, long low, long high)
{
	size_t digits = strspn(value, "0123456789");

	return digits && digits < 10 && !value[digits] && atol(value) >= low && atol(value) <= high;
}

static const char *heartbeat_value(const char *value)
{
	return within(value, 1, HEARTBEAT_MAX) ? NULL : "1..3600 seconds";
}

static const char *message_value(const char *value)
{
	return within(value, MESSAGE_MIN, MESSAGE_MAX) ? NULL : "4096..536870912 bytes";
}

static const char *account_value(const char *value)
{
	return strlen(value) == 12 && strspn(value, "0123456789") == 12 ? NULL : "12 digits";
}

static const char *visibility_value(const char *value)
{
	return within(value, 3, 43200) ? NULL : "3..43200 seconds";
}

/* http(s)://HOST[:PORT], without anything that could be a secret. */
static const char *endpoint_value(const char *value)
{
	size_t prefix = strncmp(value, "https://", 8) == 0  ? 8
			: strncmp(value, "http://", 7) == 0 ? 7
							    : 0;
	size_t bytes = strlen(value);

	if (!prefix || bytes == prefix || bytes > 300 || strcspn(value, "@?# \t\r\n") != bytes)
		return "http://HOST:PORT or https://HOST:PORT";
	return NULL;
}

static const struct option {
	const char *name;
	unsigned kinds;
	value_fn *fault;
} known_options[] = {
	{ "security", FOR_KAFKA, security_value },
	{ "mechanism", FOR_KAFKA, mechanism_value },
	{ "heartbeat", FOR_AMQP, heartbeat_value },
	{ "max_message", FOR_AMQP | FOR_SQS, message_value },
	{ "endpoint", FOR_SQS, endpoint_value },
	{ "account", FOR_SQS, account_value },
	{ "visibility", FOR_SQS, visibility_value },
	{ "insecure", FOR_AMQP | FOR_KAFKA | FOR_SQS, insecure_value },
};

struct parsing {
	struct arena *arena;
	struct broker_url *url;
	const struct scheme *scheme;
	struct error *err;
};

static int refuse(struct parsing *p, const char *message)
{
	return error_set(p->err, ERROR_INVALID, "%s", message);
}

static int hex_digit(char c)
{
	if (isdigit((unsigned char)c))
		return c - '0';
	return isxdigit((unsigned char)c) ? (c | 0x20) - 'a' + 10 : -1;
}

/* Undoes percent-encoding; NULL when it is none, or hides a NUL or what is no text. */
static const char *decode(struct parsing *p, const char *text, size_t bytes)
{
	char *decoded = arena_alloc(p->arena, bytes + 1), *out = decoded;

	for (const char *at = text; at < text + bytes; at++) {
		int high, low;

		if (*at != '%') {
			*out++ = *at;
			continue;
		}
		if (text + bytes - at < 3 || (high = hex_digit(at[1])) < 0 ||
		    (low = hex_digit(at[2])) < 0)
			return NULL;
		*out++ = (char)(high << 4 | low);
		at += 2;
	}
	*out = 0;
	return utf8_text(decoded, (size_t)(out - decoded)) ? decoded : NULL;
}

/* ---- hosts */

static int parse_port(struct parsing *p, const char *text, size_t bytes, int *port_r)
{
	char *port = arena_strndup(p->arena, text, bytes);

	if (!within(port, 1, 65535))
		return refuse(p, "a port is not 1..65535");
	*port_r = atoi(port);
	return 0;
}

static bool host_name_valid(const char *host)
{
	unsigned char address[16];

	if (strchr(host, ':'))
		return inet_pton(AF_INET6, host, address) == 1;
	for (const char *at = host; *at; at++) {
		if (!isalnum((unsigned char)*at) && !strchr(".-_", *at))
			return false;
	}
	return *host && strlen(host) < 256;
}

/* HOST, HOST:PORT, [::1]:PORT */
static int parse_host(struct parsing *p, const char *text, size_t bytes, struct broker_host *host)
{
	const char *end = text + bytes, *host_end;

	if (bytes && *text == '[') {
		host_end = memchr(text, ']', bytes);
		if (!host_end)
			return refuse(p, "a [ without its ]");
		host->host = arena_strndup(p->arena, text + 1, (size_t)(host_end - text) - 1);
		host_end++;
		if (!strchr(host->host, ':'))
			return refuse(p, "no IPv6 address between [ and ]");
	} else {
		host_end = memchr(text, ':', bytes);
		host_end = host_end ? host_end : end;
		host->host = arena_strndup(p->arena, text, (size_t)(host_end - text));
	}
	host->port = p->scheme->port;
	if (!host_name_valid(host->host))
		return refuse(p, bytes ? "a host is not a name or an address" : "no host");
	if (host_end == end)
		return 0;
	if (*host_end != ':')
		return refuse(p, "a host is not a name or an address");
	return parse_port(p, host_end + 1, (size_t)(end - host_end) - 1, &host->port);
}

static int parse_hosts(struct parsing *p, const char *text, size_t bytes)
{
	const char *end = text + bytes;
	size_t room = 1;

	for (const char *at = text; at < end; at++)
		room += *at == ',';
	if (room > 1 && p->scheme->kind != BROKER_KAFKA)
		return refuse(p, "more than one host; only kafka:// takes several");
	p->url->hosts = ARENA_ARRAY(p->arena, struct broker_host, room);
	for (const char *at = text; p->url->host_count < room;) {
		const char *comma = at < end ? memchr(at, ',', (size_t)(end - at)) : NULL;
		const char *stop = comma ? comma : end;

		if (parse_host(p, at, (size_t)(stop - at), &p->url->hosts[p->url->host_count++]))
			return -1;
		at = stop + 1;
	}
	return 0;
}

/* [USER[:PASSWORD]@]HOSTS; for SQS the region. */
static int parse_authority(struct parsing *p, const char *text, size_t bytes)
{
	const char *at = bytes ? memrchr(text, '@', bytes) : NULL;
	const char *colon = at ? memchr(text, ':', (size_t)(at - text)) : NULL;

	if (p->scheme->kind == BROKER_SQS) {
		if (at)
			return refuse(p, "credentials of SQS come from AWS_ACCESS_KEY_ID and the "
					 "like, not from the URL");
		p->url->path = arena_strndup(p->arena, text, bytes);
		if (strspn(p->url->path, "abcdefghijklmnopqrstuvwxyz0123456789-") != bytes)
			return refuse(p, "not the name of a region");
		return 0;
	}
	if (at) {
		const char *user_end = colon ? colon : at;

		p->url->user = decode(p, text, (size_t)(user_end - text));
		p->url->password = colon ? decode(p, colon + 1, (size_t)(at - colon) - 1) : NULL;
		if (!p->url->user || (colon && !p->url->password))
			return refuse(p, "user or password is not percent-encoded text");
		bytes -= (size_t)(at + 1 - text);
		text = at + 1;
	}
	return parse_hosts(p, text, bytes);
}

/* ---- options */

static int add_option(struct parsing *p, const char *name, const char *value)
{
	for (size_t i = 0; i < p->url->option_count; i++) {
		if (strcmp(p->url->options[i].name, name) == 0)
			return error_set(p->err, ERROR_INVALID, "the option %s is given twice",
					 name);
	}
	for (size_t i = 0; i < ARRAY_LEN(known_options); i++) {
		const struct option *option = &known_options[i];
		const char *expected;

		if (strcmp(option->name, name) != 0 || !(option->kinds & (1u << p->scheme->kind)))
			continue;
		expected = option->fault(value);
		if (expected)
			return error_set(p->err, ERROR_INVALID, "the option %s is not %s", name,
					 expected);
		p->url->options[p->url->option_count++] =
			(struct broker_option){ option->name, value };
		return 0;
	}
	return refuse(p, "an option that this kind of broker does not have");
}

static int parse_options(struct parsing *p, const char *text)
{
	size_t room = 1;

	for (const char *at = text; *at; at++)
		room += *at == '&';
	p->url->options = ARENA_ARRAY(p->arena, struct broker_option, room);
	for (const char *at = text; *at;) {
		size_t bytes = strcspn(at, "&"), name_bytes = strcspn(at, "=&");
		const char *name, *value;

		if (name_bytes == bytes)
			return refuse(p, "an option without a value");
		name = arena_strndup(p->arena, at, name_bytes);
		value = decode(p, at + name_bytes + 1, bytes - name_bytes - 1);
		if (!value)
			return refuse(p, "an option is not percent-encoded text");
		if (add_option(p, name, value) < 0)
			return -1;
		at += bytes + (at[bytes] == '&');
	}
	return 0;
}

/* ---- what it means together */

static bool is_loopback(const char *host)
{
	unsigned char address[4];

	if (strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0)
		return true;
	return inet_pton(AF_INET, host, address) == 1 && address[0] == 127;
}

static bool endpoint_loopback(const char *endpoint)
{
	char host[256];
	const char *at = endpoint + strlen("http://");
	bool bracket = *at == '[';
	size_t bytes = strcspn(at + bracket, bracket ? "]" : ":/");

	if (bytes >= sizeof(host))
		return false;
	memcpy(host, at + bracket, bytes);
	host[bytes] = 0;
	return is_loopback(host);
}

static bool all_loopback(const struct broker_url *url)
{
	for (size_t i = 0; i < url->host_count; i++) {
		if (!is_loopback(url->hosts[i].host))
			return false;
	}
	return true;
}

static int check_safety(struct parsing *p)
{
	const struct broker_url *url = p->url;
	const char *insecure = broker_url_option(url, "insecure");
	const char *endpoint = broker_url_option(url, "endpoint");

	if (insecure && strcmp(insecure, "true") == 0)
		return 0;
	if (endpoint && strncmp(endpoint, "http:", 5) == 0 && !endpoint_loopback(endpoint))
		return refuse(p, "plain http to another machine; use https, or say insecure=true");
	if (!url->tls && url->password && !all_loopback(url))
		return refuse(p, "the password would go unencrypted to another machine; use "
				 "amqps:// or security=sasl_ssl, or say insecure=true");
	return 0;
}

static int check_kafka(struct parsing *p)
{
	const char *security = broker_url_option(p->url, "security");
	bool sasl = security && strncmp(security, "sasl_", 5) == 0;

	if (p->scheme->kind != BROKER_KAFKA)
		return 0;
	p->url->tls = security && strstr(security, "ssl") != NULL;
	if (sasl && !(p->url->user && p->url->password))
		return refuse(p, "security=sasl_… needs a user and a password");
	if (p->url->user && security && !sasl)
		return refuse(p, "a user needs security=sasl_ssl or sasl_plaintext");
	return 0;
}

/* The vhost; "/" when there is none. */
static int parse_path(struct parsing *p, const char *text, size_t bytes)
{
	if (p->scheme->kind != BROKER_AMQP)
		return bytes > 1 ? refuse(p, "a path, which only amqp:// has") : 0;
	p->url->path = bytes > 1 ? decode(p, text + 1, bytes - 1) : "/";
	if (!p->url->path || (bytes > 1 && memchr(text + 1, '/', bytes - 1)))
		return refuse(p, "the vhost is not percent-encoded text (a / in it is %2f)");
	return 0;
}

static const struct scheme *find_scheme(const char *text)
{
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		if (strncmp(text, schemes[i].prefix, strlen(schemes[i].prefix)) == 0)
			return &schemes[i];
	}
	return NULL;
}

int broker_url_parse(const char *text, struct arena *arena, struct broker_url *url_r,
		     struct error *err_r)
{
	struct parsing p = { .arena = arena, .url = url_r, .err = err_r };
	const char *authority, *path;
	size_t authority_bytes, path_bytes;

	*url_r = (struct broker_url){ .kind = BROKER_NONE };
	if (!*text)
		return 0;
	p.scheme = find_scheme(text);
	if (!p.scheme)
		return refuse(&p,
			      "not the URL of a broker; expected amqp://, amqps://, kafka:// or "
			      "sqs://");
	url_r->kind = p.scheme->kind;
	url_r->tls = p.scheme->tls;
	authority = text + strlen(p.scheme->prefix);
	authority_bytes = strcspn(authority, "/?#");
	path = authority + authority_bytes;
	path_bytes = strcspn(path, "?#");
	if (path[path_bytes] == '#')
		return refuse(&p, "a # must be percent-encoded (%23)");
	if (parse_authority(&p, authority, authority_bytes) < 0 ||
	    parse_path(&p, path, path_bytes) < 0 ||
	    parse_options(&p, path[path_bytes] == '?' ? path + path_bytes + 1 : "") < 0)
		return -1;
	return check_kafka(&p) < 0 || check_safety(&p) < 0 ? -1 : 0;
}

int broker_url_parse_as(enum broker_kind kind, const char *text, struct arena *arena,
			struct broker_url *url_r, struct error *err_r)
{
	const struct scheme *scheme = schemes;

	if (broker_url_parse(text, arena, url_r, err_r) < 0)
		return -1;
	if (url_r->kind == kind)
		return 0;
	while (scheme->kind != kind)
		scheme++;
	return error_set(err_r, ERROR_INVALID, "BROKER_URL does not begin with %s", scheme->prefix);
}

const char *broker_url_option(const struct broker_url *url, const char *name)
{
	for (size_t i = 0; i < url->option_count; i++) {
		if (strcmp(url->options[i].name, name) == 0)
			return url->options[i].value;
	}
	return NULL;
}

const char *broker_url_label(const struct broker_url *url, struct arena *arena)
{
	const char *endpoint = broker_url_option(url, "endpoint");
	struct strbuf label;
	const char *text;

	if (url->kind == BROKER_NONE)
		return "";
	if (url->kind == BROKER_SQS)
		return arena_printf(arena, "sqs://%s%s%s", url->path, endpoint ? " at " : "",
				    endpoint ? endpoint : "");
	strbuf_init(&label);
	strbuf_addstr(&label, url->kind == BROKER_KAFKA ? "kafka://"
			      : url->tls                ? "amqps://"
							: "amqp://");
	for (size_t i = 0; i < url->host_count; i++) {
		bool ipv6 = strchr(url->hosts[i].host, ':') != NULL;

		strbuf_printf(&label, "%s%s%s%s:%d", i ? "," : "", ipv6 ? "[" : "",
			      url->hosts[i].host, ipv6 ? "]" : "", url->hosts[i].port);
	}
	if (url->path)
		strbuf_printf(&label, "%s%s", *url->path == '/' ? "" : "/", url->path);
	text = arena_strndup(arena, label.data, label.len);
	strbuf_release(&label);
	return text;
}

const char *broker_topic(enum broker_kind kind, const char *prefix, const char *queue,
			 const char *topic, struct arena *arena)
{
	char *name;

	if (topic)
		return arena_strdup(arena, topic);
	name = arena_printf(arena, "%s%s", prefix, queue);
	for (char *at = name; *at; at++) {
		if (!isalnum((unsigned char)*at) && *at != '-' && *at != '_' &&
		    (kind == BROKER_SQS || (*at != '.' && (kind == BROKER_KAFKA || *at != ':'))))
			*at = '-';
	}
	return name;
}
