/* SPDX-License-Identifier: Apache-2.0 */
/* A table of places to look at, asked one after the other; the first that knows of a key decides,
 * also when its key is broken: going on would sign with somebody else's. */
#include "common/broker/sqs_credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/broker/sqs_http.h"
#include "common/broker/sqs_profile.h"
#include "common/json/json_text.h"

#define FILE_BYTES_MAX   (1024 * 1024)
#define ANSWER_BYTES_MAX (64 * 1024)
#define METADATA_WAIT_MS 1000
#define AGAIN_MS         5000
#define RENEW_EARLY_MS   (5 * 60 * 1000)
#define TOKEN_BYTES_MAX  16384
#define CONTAINER_HOST   "http://169.254.170.2"
#define METADATA_HOST    "http://169.254.169.254"

struct secret {
	char *id, *key, *token; /* token may be NULL */
	int64_t expires_ms;     /* wall; 0: never */
};

struct sqs_credentials {
	struct sqs_http *http;
	struct secret secret;
	int64_t renew_wall_ms; /* 0: never */
	int64_t ask_mono_ms;   /* not before */
	struct error trouble;  /* of the last look */
	char region[64];
};

/* ---- one secret */

static void wipe(char **text)
{
	if (*text)
		explicit_bzero(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

static void secret_wipe(struct secret *secret)
{
	wipe(&secret->id);
	wipe(&secret->key);
	wipe(&secret->token);
	secret->expires_ms = 0;
}

/* These texts go into headers. */
static bool is_printable(const char *text, size_t bytes_max)
{
	size_t bytes = strlen(text);

	for (size_t i = 0; i < bytes; i++) {
		if (text[i] <= ' ' || text[i] >= 0x7f)
			return false;
	}
	return bytes > 0 && bytes <= bytes_max;
}

/* 1, or -1: these cannot be used. */
static int secret_set(struct secret *secret, const char *id, const char *key, const char *token,
		      const char *where, struct error *err_r)
{
	bool has_token = token && *token;

	if (!id || !key || !is_printable(id, 128) || !is_printable(key, 256) ||
	    (has_token && !is_printable(token, TOKEN_BYTES_MAX)))
		return error_set(err_r, ERROR_UNAVAILABLE,
				 "%s: an access key needs an id and a secret without blanks",
				 where);
	secret->id = xstrdup(id);
	secret->key = xstrdup(key);
	secret->token = has_token ? xstrdup(token) : NULL;
	return 1;
}

/* ---- environment and files: 1 found, 0 not here, -1 here but of no use */

static const char *env(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static int look_environment(struct sqs_credentials *c, struct secret *secret_r, struct error *err_r)
{
	const char *id = env("AWS_ACCESS_KEY_ID"), *key = env("AWS_SECRET_ACCESS_KEY");

	(void)c;
	if (!id && !key)
		return 0;
	return secret_set(secret_r, id, key, env("AWS_SESSION_TOKEN"), "the environment", err_r);
}

/* Adds what a file says. A file that cannot be read says nothing. */
static void read_profile(const char *path, struct sqs_profile *profile)
{
	const char *name = env("AWS_PROFILE");
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	size_t bytes = 0;
	ssize_t n = 1;
	char *text;

	if (fd < 0)
		return;
	text = xmalloc(FILE_BYTES_MAX);
	while (bytes < FILE_BYTES_MAX && n > 0) {
		n = read(fd, text + bytes, FILE_BYTES_MAX - bytes);
		if (n > 0)
			bytes += (size_t)n;
	}
	close(fd);
	sqs_profile_read(text, bytes, name ? name : "default", profile);
	explicit_bzero(text, bytes);
	free(text);
}

static void read_profiles(struct sqs_profile *profile_r)
{
	const char *home = env("HOME"), *named;
	struct strbuf path;

	memset(profile_r, 0, sizeof(*profile_r));
	strbuf_init(&path);
	named = env("AWS_SHARED_CREDENTIALS_FILE");
	strbuf_printf(&path, "%s%s",
		      named  ? named
		      : home ? home
			     : "",
		      named ? "" : "/.aws/credentials");
	read_profile(path.data, profile_r);
	strbuf_clear(&path);
	named = env("AWS_CONFIG_FILE");
	strbuf_printf(&path, "%s%s", named ? named : home ? home : "", named ? "" : "/.aws/config");
	read_profile(path.data, profile_r);
	strbuf_release(&path);
}

static int look_profile(struct sqs_credentials *c, struct secret *secret_r, struct error *err_r)
{
	const char *name = env("AWS_PROFILE");
	struct sqs_profile profile;
	int rc = 0;

	(void)c;
	read_profiles(&profile);
	if (profile.key_id[0] || profile.secret[0])
		rc = secret_set(secret_r, profile.key_id, profile.secret, profile.token,
				"the profile", err_r);
	else if (profile.found && profile.indirect)
		rc = error_set(err_r, ERROR_UNAVAILABLE,
			       "profile %s: roles, processes and single sign-on are not supported",
			       name ? name : "default");
	else if (name && !profile.found)
		rc = error_set(err_r, ERROR_UNAVAILABLE, "there is no profile %s", name);
	sqs_profile_wipe(&profile);
	return rc;
}

/* ---- endpoints */

struct fetched {
	bool over;
	int status;
	struct strbuf *body;
	char why[160];
};

static void on_fetched(void *ctx, const struct sqs_http_answer *answer)
{
	struct fetched *fetched = ctx;

	fetched->over = true;
	fetched->status = answer->status;
	strbuf_add(fetched->body, answer->body, answer->body_bytes);
	snprintf(fetched->why, sizeof(fetched->why), "%s", answer->why);
}

/* One request. 0: status 200. The body is appended whatever the status. */
static int fetch(struct sqs_credentials *c, const char *method, const char *url, const char *header,
		 struct strbuf *body, struct error *err_r)
{
	const char *headers[] = { "Accept: */*", header, NULL };
	struct sqs_http_request request = { .method = method,
					    .url = url,
					    .headers = headers,
					    .timeout_ms = METADATA_WAIT_MS,
					    .answer_bytes_max = ANSWER_BYTES_MAX };
	struct fetched fetched = { .body = body };

	if (strcmp(method, "GET") != 0)
		request.body = "";
	sqs_http_start(c->http, &request, on_fetched, &fetched);
	while (!fetched.over)
		sqs_http_poll(c->http, METADATA_WAIT_MS);
	if (fetched.status == 200)
		return 0;
	if (fetched.status)
		return error_set(err_r, ERROR_UNAVAILABLE, "%s answered %d", url, fetched.status);
	return error_set(err_r, ERROR_UNAVAILABLE, "%s: %s", url, fetched.why);
}

static void body_wipe(struct strbuf *body)
{
	explicit_bzero(body->data, body->len);
	strbuf_release(body);
}

/* jansson's copies are wiped too. */
static void json_wipe(json_t *answer)
{
	static const char *const names[] = { "SecretAccessKey", "Token" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		json_t *value = json_object_get(answer, names[i]);

		if (json_is_string(value))
			explicit_bzero((char *)(uintptr_t)json_string_value(value),
				       json_string_length(value));
	}
	json_decref(answer);
}

static int read_keys(const struct strbuf *body, const char *where, struct secret *secret_r,
		     struct error *err_r)
{
	struct json_error problem;
	json_t *answer = json_text_parse(body->data, body->len, &problem);
	const char *expires = json_string_value(json_object_get(answer, "Expiration"));
	int rc;

	if (!json_is_object(answer))
		rc = error_set(err_r, ERROR_UNAVAILABLE, "%s: the answer is no JSON object", where);
	else
		rc = secret_set(secret_r, json_string_value(json_object_get(answer, "AccessKeyId")),
				json_string_value(json_object_get(answer, "SecretAccessKey")),
				json_string_value(json_object_get(answer, "Token")), where, err_r);
	if (rc == 1 && expires && clock_parse(expires, &secret_r->expires_ms) < 0) {
		secret_wipe(secret_r);
		rc = error_set(err_r, ERROR_UNAVAILABLE, "%s: its Expiration is no time", where);
	}
	json_wipe(answer);
	return rc;
}

static bool is_plain_host(const char *host)
{
	static const char *const known[] = { "127.0.0.1",     "localhost",      "[::1]",
					     "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]" };

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		size_t bytes = strlen(known[i]);

		if (!strncmp(host, known[i], bytes) && strchr(":/", host[bytes]))
			return true;
	}
	return false;
}

int sqs_container_url(const char *relative, const char *full, struct strbuf *url,
		      struct error *err_r)
{
	const char *text = relative ? relative : full;

	CHECK(text);
	if (!is_printable(text, 2048) || (relative && relative[0] != '/'))
		return error_set(err_r, ERROR_INVALID, "the container's credentials URI is none");
	if (relative) {
		strbuf_printf(url, CONTAINER_HOST "%s", relative);
		return 0;
	}
	if (strncmp(full, "https://", 8) != 0 &&
	    (strncmp(full, "http://", 7) != 0 || !is_plain_host(full + 7)))
		return error_set(err_r, ERROR_INVALID,
				 "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or http to "
				 "this machine or a container service");
	strbuf_addstr(url, full);
	return 0;
}

/* "Authorization: <token>"; the file is read each time, since it is rotated. */
static int container_header(char header_r[TOKEN_BYTES_MAX], struct error *err_r)
{
	const char *path = env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *token = env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	int n = snprintf(header_r, TOKEN_BYTES_MAX, "Authorization: ");
	ssize_t got;
	int fd;

	if (!path) {
		snprintf(header_r + n, TOKEN_BYTES_MAX - (size_t)n, "%s", token ? token : "");
	} else {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		got = fd < 0 ? -1 : read(fd, header_r + n, TOKEN_BYTES_MAX - (size_t)n - 1);
		if (fd >= 0)
			close(fd);
		if (got <= 0)
			return error_set(err_r, ERROR_UNAVAILABLE,
					 "cannot read the container's token file");
		header_r[n + (int)got] = '\0';
		header_r[n + (int)strcspn(header_r + n, "\r\n")] = '\0';
	}
	for (const char *at = header_r + n; *at; at++) { /* "Bearer x" has a blank */
		if (*at < ' ' || *at >= 0x7f)
			return error_set(err_r, ERROR_UNAVAILABLE,
					 "the container's token is no header value");
	}
	if (!header_r[n])
		header_r[0] = '\0';
	return 0;
}

static int look_container(struct sqs_credentials *c, struct secret *secret_r, struct error *err_r)
{
	const char *relative = env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *full = env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	char header[TOKEN_BYTES_MAX];
	struct strbuf url, body;
	int rc;

	if (!relative && !full)
		return 0;
	strbuf_init(&url);
	strbuf_init(&body);
	rc = sqs_container_url(relative, full, &url, err_r);
	if (rc == 0)
		rc = container_header(header, err_r);
	if (rc == 0) {
		rc = fetch(c, "GET", url.data, header[0] ? header : NULL, &body, err_r);
		if (rc == 0)
			rc = read_keys(&body, "the container's endpoint", secret_r, err_r);
	}
	explicit_bzero(header, sizeof(header));
	body_wipe(&body);
	strbuf_release(&url);
	return rc;
}

/* IMDSv2: a token, the role's name, the role's keys. */
static int ask_metadata(struct sqs_credentials *c, const char *base, struct strbuf *parts,
			struct secret *secret_r, struct error *err_r)
{
	static const char place[] = "/latest/meta-data/iam/security-credentials/";
	char url[512], header[1024];

	snprintf(url, sizeof(url), "%s/latest/api/token", base);
	if (fetch(c, "PUT", url, "X-aws-ec2-metadata-token-ttl-seconds: 300", &parts[0], err_r) < 0)
		return -1;
	snprintf(header, sizeof(header), "X-aws-ec2-metadata-token: %.512s", parts[0].data);
	snprintf(url, sizeof(url), "%s%s", base, place);
	if (!is_printable(parts[0].data, 512) || fetch(c, "GET", url, header, &parts[1], err_r) < 0)
		return -1;
	if (parts[1].len)
		parts[1].data[strcspn(parts[1].data, "\r\n")] = '\0';
	if (!is_printable(parts[1].data, 128) || strpbrk(parts[1].data, "/?#%"))
		return error_set(err_r, ERROR_UNAVAILABLE, "the instance has no role");
	snprintf(url, sizeof(url), "%s%s%.128s", base, place, parts[1].data);
	if (fetch(c, "GET", url, header, &parts[2], err_r) < 0)
		return -1;
	return read_keys(&parts[2], "the instance's metadata", secret_r, err_r);
}

static int look_metadata(struct sqs_credentials *c, struct secret *secret_r, struct error *err_r)
{
	const char *base = env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	const char *disabled = env("AWS_EC2_METADATA_DISABLED");
	struct strbuf parts[3];
	char host[256];
	int rc;

	if (disabled && !strcasecmp(disabled, "true"))
		return 0;
	snprintf(host, sizeof(host), "%s", base ? base : METADATA_HOST);
	while (*host && host[strlen(host) - 1] == '/')
		host[strlen(host) - 1] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		strbuf_init(&parts[i]);
	rc = ask_metadata(c, host, parts, secret_r, err_r);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		body_wipe(&parts[i]);
	return rc;
}

/* ---- all of it */

static int look(struct sqs_credentials *c, struct secret *secret_r, struct error *err_r)
{
	static int (*const places[])(struct sqs_credentials *, struct secret *,
				     struct error *) = { look_environment, look_profile,
							 look_container, look_metadata };
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(places) && rc == 0; i++)
		rc = places[i](c, secret_r, err_r);
	if (rc == 0)
		return error_set(err_r, ERROR_UNAVAILABLE,
				 "no AWS credentials in environment, files, container or instance");
	if (rc < 0)
		error_wrap(err_r, "AWS credentials");
	return rc;
}

int64_t sqs_renew_at(int64_t now_ms, int64_t expires_ms)
{
	int64_t life_ms = expires_ms > now_ms ? expires_ms - now_ms : 0;

	return life_ms > 2 * RENEW_EARLY_MS ? expires_ms - RENEW_EARLY_MS : now_ms + life_ms / 2;
}

/* A key that is still good stays in use while no new one is to be had. */
static void refresh(struct sqs_credentials *c)
{
	struct secret secret = { .id = NULL };
	int64_t now_ms;

	if (look(c, &secret, &c->trouble) < 0) {
		c->ask_mono_ms = clock_mono_ms() + AGAIN_MS;
		return;
	}
	now_ms = clock_wall_ms();
	secret_wipe(&c->secret);
	c->secret = secret;
	c->renew_wall_ms = secret.expires_ms ? sqs_renew_at(now_ms, secret.expires_ms) : 0;
	/* A key whose time is up already must not be fetched for every request. */
	c->ask_mono_ms = clock_mono_ms() + 1000;
}

int sqs_credentials_get(struct sqs_credentials *c, struct sqs_key *key_r, struct error *err_r)
{
	bool due = !c->secret.id || (c->renew_wall_ms && clock_wall_ms() >= c->renew_wall_ms);

	if (due && clock_mono_ms() >= c->ask_mono_ms)
		refresh(c);
	if (!c->secret.id) {
		*err_r = c->trouble;
		return -1;
	}
	*key_r = (struct sqs_key){ c->secret.id, c->secret.key, c->secret.token };
	return 0;
}

void sqs_credentials_forget(struct sqs_credentials *c)
{
	secret_wipe(&c->secret);
	error_set(&c->trouble, ERROR_UNAVAILABLE, "SQS does not accept the AWS credentials");
}

const char *sqs_credentials_region(struct sqs_credentials *c)
{
	const char *named = env("AWS_REGION") ? env("AWS_REGION") : env("AWS_DEFAULT_REGION");
	struct sqs_profile profile;

	if (named) {
		snprintf(c->region, sizeof(c->region), "%s", named);
	} else {
		read_profiles(&profile);
		snprintf(c->region, sizeof(c->region), "%s", profile.region);
		sqs_profile_wipe(&profile);
	}
	return c->region;
}

struct sqs_credentials *sqs_credentials_new(const char *ca_file)
{
	struct sqs_credentials *c = xcalloc(1, sizeof(*c));

	c->http = sqs_http_new(ca_file);
	return c;
}

void sqs_credentials_free(struct sqs_credentials **credentials)
{
	if (!*credentials)
		return;
	secret_wipe(&(*credentials)->secret);
	sqs_http_free(&(*credentials)->http);
	free(*credentials);
	*credentials = NULL;
}
