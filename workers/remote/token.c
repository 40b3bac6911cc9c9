/* SPDX-License-Identifier: Apache-2.0 */
/* A token is fetched again in the last tenth of its life, one minute before its end at the latest;
 * an answer without expires_in is trusted for five minutes. Secrets are wiped when they go. */
#include "workers/remote/token.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/arena.h"
#include "common/base/digest.h"

#define SECOND_NS       INT64_C(1000000000)
#define LIFE_DEFAULT_S  300
#define LIFE_MOST_S     86400
#define EARLY_MOST_S    60
#define FORCED_GAP_NS   (10 * SECOND_NS)
#define TOKEN_BYTES_MAX 16384

static void wipe(char **secret)
{
	if (*secret)
		explicit_bzero(*secret, strlen(*secret));
	free(*secret);
	*secret = NULL;
}

static char *copy_of(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

struct token_source *token_source_new(const char *url, const char *client_id,
				      const char *client_secret, const char *scope)
{
	struct token_source *source = xcalloc(1, sizeof(*source));

	source->url = copy_of(url);
	source->client_id = copy_of(client_id);
	source->client_secret = copy_of(client_secret);
	source->scope = copy_of(scope);
	source->forced_ns = -FORCED_GAP_NS;
	list_init(&source->waiting);
	return source;
}

void token_source_free(struct token_source **source)
{
	struct token_source *s = *source;

	if (!s)
		return;
	CHECK(list_empty(&s->waiting));
	wipe(&s->header);
	wipe(&s->client_secret);
	free(s->url);
	free(s->client_id);
	free(s->scope);
	free(s);
	*source = NULL;
}

bool token_good(const struct token_source *source, int64_t now_ns)
{
	return source->header && now_ns < source->expires_ns;
}

bool token_wanted(const struct token_source *source, int64_t now_ns)
{
	return !source->fetching && (!source->header || now_ns >= source->refresh_ns);
}

/* application/x-www-form-urlencoded */
static void add_encoded(struct strbuf *out, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
		    strchr("-._*", c))
			strbuf_addch(out, (char)c);
		else if (c == ' ')
			strbuf_addch(out, '+');
		else
			strbuf_printf(out, "%%%02X", c);
	}
}

void token_request(const struct token_source *source, struct strbuf *form_r,
		   struct strbuf *authorization_r)
{
	struct arena *arena = arena_new(0);
	struct strbuf pair;
	char *encoded;

	strbuf_addstr(form_r, "grant_type=client_credentials");
	if (source->scope) {
		strbuf_addstr(form_r, "&scope=");
		add_encoded(form_r, source->scope);
	}
	strbuf_init(&pair);
	add_encoded(&pair, source->client_id);
	strbuf_addch(&pair, ':');
	add_encoded(&pair, source->client_secret);
	encoded = base64_encode(arena, pair.data, pair.len);
	strbuf_printf(authorization_r, "Authorization: Basic %s", encoded);
	explicit_bzero(encoded, strlen(encoded));
	explicit_bzero(pair.data, pair.len);
	strbuf_release(&pair);
	arena_free(&arena);
}

/* RFC 6750: what may stand behind "Bearer". */
static bool is_token(const char *text)
{
	size_t bytes = strlen(text);

	return bytes && bytes <= TOKEN_BYTES_MAX &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
			    "-._~+/=") == bytes;
}

static void keep(struct token_source *source, const char *token, double life_s, int64_t now_ns)
{
	size_t bytes = strlen(token) + sizeof("Authorization: Bearer ");
	double early_s;

	if (!(life_s > 0))
		life_s = LIFE_DEFAULT_S;
	if (life_s > LIFE_MOST_S)
		life_s = LIFE_MOST_S;
	early_s = life_s / 10 < EARLY_MOST_S ? life_s / 10 : EARLY_MOST_S;
	wipe(&source->header);
	source->header = xmalloc(bytes);
	snprintf(source->header, bytes, "Authorization: Bearer %s", token);
	source->expires_ns = now_ns + (int64_t)(life_s * (double)SECOND_NS);
	source->refresh_ns = source->expires_ns - (int64_t)(early_s * (double)SECOND_NS);
	source->number++;
}

int token_take(struct token_source *source, int status, const char *body, size_t bytes,
	       int64_t now_ns, struct error *err_r)
{
	json_t *answer =
		status == 200 ? json_loadb(body, bytes, JSON_REJECT_DUPLICATES, NULL) : NULL;
	const char *token = json_string_value(json_object_get(answer, "access_token"));
	const char *type = json_string_value(json_object_get(answer, "token_type"));
	int result = -1;

	if (status != 200)
		error_set(err_r, ERROR_UNAVAILABLE, "no token: its server answered %d", status);
	else if (!token || !is_token(token))
		error_set(err_r, ERROR_UNAVAILABLE, "no token in the answer of its server");
	else if (type && strcasecmp(type, "bearer") != 0)
		error_set(err_r, ERROR_UNAVAILABLE, "the token is of another type than bearer");
	else
		result = 0;
	if (result == 0)
		keep(source, token, json_number_value(json_object_get(answer, "expires_in")),
		     now_ns);
	json_decref(answer);
	return result;
}

bool token_refused(struct token_source *source, uint64_t number, int64_t now_ns)
{
	if (number != source->number)
		return true; /* a newer one has come: once more with that */
	if (now_ns - source->forced_ns < FORCED_GAP_NS)
		return !source->header; /* it is thrown away already: with the next one */
	source->forced_ns = now_ns;
	wipe(&source->header);
	return true;
}
