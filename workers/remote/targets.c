/* SPDX-License-Identifier: Apache-2.0 */
/* URLs are taken apart by libcurl's parser alone, the one that connects: what looks like a target's
 * host to another parser must not get its credentials. Called by flow.c. */
#include "workers/remote/targets.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/arena.h"
#include "common/base/digest.h"
#include "common/base/log.h"
#include "common/service/metrics.h"
#include "workers/remote/call_template.h"
#include "workers/remote/remote.h"

#define IMPLICIT_MAX  256
#define DESCRIBED_MAX 50 /* of those that are not declared */
#define OTHER         "other"
#define MS_NS         INT64_C(1000000)

struct targets {
	struct list declared, implicit /* last used first */, gone;
	int implicit_count;
	struct target *overflow; /* of all origins for which there is no room */
	struct metrics *metrics; /* or NULL */
};

static const struct target_limits implicit_limits = {
	.concurrency = 64,
	.waiting_max = 256,
	.retry_percent = 10,
	.breaker = { .failures = 10,
		     .percent = 50,
		     .window_ns = 10000 * MS_NS,
		     .cooldown_ns = 10000 * MS_NS },
};

/* ---- URLs */

struct place { /* of a URL */
	char origin[320], *path;
};

static char *part_of(CURLU *url, CURLUPart part)
{
	char *text = NULL;

	return curl_url_get(url, part, &text, part == CURLUPART_PORT ? CURLU_DEFAULT_PORT : 0) ==
			       CURLUE_OK
		       ? text
		       : NULL;
}

/* False: it has no origin, or none that anybody has. */
static bool place_of(CURLU *url, struct place *place_r)
{
	char *scheme = part_of(url, CURLUPART_SCHEME), *host = part_of(url, CURLUPART_HOST);
	char *port = part_of(url, CURLUPART_PORT);
	int bytes = -1;

	place_r->path = part_of(url, CURLUPART_PATH);
	if (scheme && host && *host && port && place_r->path)
		bytes = snprintf(place_r->origin, sizeof(place_r->origin), "%s://%s:%s", scheme,
				 host, port);
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	for (char *c = place_r->origin; bytes > 0 && *c; c++)
		*c = (char)tolower((unsigned char)*c);
	if (bytes > 0 && (size_t)bytes < sizeof(place_r->origin))
		return true;
	curl_free(place_r->path);
	return false;
}

/* Is the path below the prefix, whole segments only? */
static bool is_below(const char *path, const char *prefix)
{
	size_t bytes = strlen(prefix);

	return !strncmp(path, prefix, bytes) && (!path[bytes] || path[bytes] == '/');
}

/* The character that many a server takes this one for. */
static char read_as(const char *at, size_t *bytes_r)
{
	bool dot = !strncasecmp(at, "%2e", 3);

	*bytes_r = 3;
	if (dot || !strncasecmp(at, "%2f", 3) || !strncasecmp(at, "%5c", 3))
		return dot ? '.' : '/';
	*bytes_r = 1;
	return *at == '\\' ? '/' : *at;
}

/* libcurl has taken out `..`; in disguise it would leave the prefix behind the credentials. */
static bool leads_out(const char *path)
{
	size_t dots = 0, others = 0, bytes;

	for (;; path += bytes) {
		char c = read_as(path, &bytes);

		if (c && c != '/') {
			dots += c == '.';
			others += c != '.';
			continue;
		}
		if (dots == 2 && !others)
			return true;
		if (!c)
			return false;
		dots = others = 0;
	}
}

static void trim_slashes(char *path)
{
	size_t bytes = strlen(path);

	while (bytes && path[bytes - 1] == '/')
		path[--bytes] = '\0';
}

static bool place_of_text(const char *text, struct place *place_r)
{
	CURLU *url = curl_url();
	bool placed = url && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
		      place_of(url, place_r);

	curl_url_cleanup(url);
	return placed;
}

bool remote_is_below(const char *url, const char *target_url, size_t *prefix_bytes_r)
{
	struct place place, target;
	bool below = false;

	if (!place_of_text(url, &place))
		return false;
	if (place_of_text(target_url, &target)) {
		trim_slashes(target.path);
		*prefix_bytes_r = strlen(target.path);
		below = !strcmp(place.origin, target.origin) && is_below(place.path, target.path);
		curl_free(target.path);
	}
	curl_free(place.path);
	return below;
}

/* ---- finding */

static struct target *find_declared(struct targets *targets, const struct place *place)
{
	struct target *best = NULL;

	for (struct list *at = targets->declared.next; at != &targets->declared; at = at->next) {
		struct target *target = list_entry(at, struct target, link);

		if (!target->own && !strcmp(target->origin, place->origin) &&
		    is_below(place->path, target->prefix) &&
		    (!best || strlen(target->prefix) > strlen(best->prefix)))
			best = target;
	}
	return best;
}

static struct target *find_named(struct targets *targets, const char *name)
{
	for (struct list *at = targets->declared.next; at != &targets->declared; at = at->next) {
		struct target *target = list_entry(at, struct target, link);

		if (!strcmp(target->name, name))
			return target;
	}
	return NULL;
}

static void observe(struct targets *targets, struct target *target)
{
	const char *name = target->name ? target->name : OTHER;
	struct metrics *metrics = targets->metrics;

	if (!metrics)
		return;
	target->series = (struct target_series){
		.answered = metrics_series(metrics, METRIC_TARGET_CALLS, name, "answered"),
		.failed = metrics_series(metrics, METRIC_TARGET_CALLS, name, "failed"),
		.silent = metrics_series(metrics, METRIC_TARGET_CALLS, name, "aborted"),
		.held = metrics_series(metrics, METRIC_TARGET_HELD, name, NULL),
		.in_flight = metrics_series(metrics, METRIC_TARGET_IN_FLIGHT, name, NULL),
		.seconds = metrics_series(metrics, METRIC_TARGET_SECONDS, name, NULL),
	};
	if (target->name)
		target->series.breaker = metrics_series(metrics, METRIC_TARGET_BREAKER, name, NULL);
}

static struct target *add_implicit(struct targets *targets, const char *origin, int64_t now_ns)
{
	struct target *target = target_new(origin, "", &implicit_limits, now_ns);

	target->http2 = true;
	observe(targets, target);
	return target;
}

/* Makes room by forgetting the one that was used longest ago and has no failures to remember. */
static bool make_room(struct targets *targets)
{
	for (struct list *at = targets->implicit.prev; at != &targets->implicit; at = at->prev) {
		struct target *target = list_entry(at, struct target, link);

		if (target_idle(target) && target->breaker.state == BREAKER_CLOSED) {
			target_free(&target);
			targets->implicit_count--;
			return true;
		}
	}
	return false;
}

static struct target *find_implicit(struct targets *targets, const char *origin, int64_t now_ns)
{
	struct target *target = NULL;

	for (struct list *at = targets->implicit.next; at != &targets->implicit && !target;
	     at = at->next) {
		if (!strcmp(list_entry(at, struct target, link)->origin, origin))
			target = list_entry(at, struct target, link);
	}
	if (!target && targets->implicit_count >= IMPLICIT_MAX && !make_room(targets)) {
		if (!targets->overflow)
			targets->overflow = add_implicit(targets, OTHER, now_ns);
		return targets->overflow;
	}
	if (!target) {
		target = add_implicit(targets, origin, now_ns);
		targets->implicit_count++;
	}
	list_remove(&target->link);
	list_prepend(&targets->implicit, &target->link);
	return target;
}

struct target *targets_find(struct targets *targets, const char *name, CURLU *url, int64_t now_ns,
			    const char **why_r)
{
	struct target *target = name ? find_named(targets, name) : NULL;
	struct place place;

	*why_r = "its target is not declared";
	if (name && !target)
		return NULL;
	if (target && target->fault)
		return target;
	*why_r = "the URL is not one";
	if (!place_of(url, &place))
		return NULL;
	*why_r = "the URL is not below its target's";
	if (target &&
	    (strcmp(target->origin, place.origin) != 0 || !is_below(place.path, target->prefix)))
		target = NULL;
	else if (!target)
		target = find_declared(targets, &place);
	if (target && *target->prefix && leads_out(place.path))
		target = NULL;
	else if (!target && !name)
		target = find_implicit(targets, place.origin, now_ns);
	curl_free(place.path);
	return target;
}

void targets_release(struct targets *targets, struct target *target)
{
	(void)targets;
	if (target->gone && !target->pumping && target_idle(target) &&
	    !(target->token && target->token->fetching))
		target_free(&target);
}

/* ---- declared ones */

/* All that makes a target what it is; values of variables do not change while we live. */
static char *fingerprint_of(const struct target_definition *d)
{
	const char *const texts[] = { d->url,    d->tls_ca,         d->tls_cert,     d->tls_key,
				      d->bearer, d->basic_user,     d->token_url,    d->client_id,
				      d->scope,  d->basic_password, d->client_secret };
	struct strbuf text;

	strbuf_init(&text);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		strbuf_json(&text, texts[i] ? texts[i] : "");
	strbuf_printf(&text, "%g %d %d %lld %lld %d %d %lld %lld %d %d %d", d->rate_per_s,
		      d->concurrency, d->waiting_max, (long long)d->timeout_ms,
		      (long long)d->connect_timeout_ms, d->breaker_failures, d->breaker_percent,
		      (long long)d->breaker_window_ms, (long long)d->breaker_cooldown_ms,
		      d->breaker_off, d->retry_percent, d->http2);
	return strbuf_take(&text);
}

static struct target_limits limits_of(const struct target_definition *d)
{
	return (struct target_limits){
		.rate_per_s = d->rate_per_s,
		.concurrency = d->concurrency,
		.waiting_max = d->waiting_max,
		.retry_percent = d->retry_percent,
		.breaker = { .off = d->breaker_off,
			     .failures = d->breaker_failures,
			     .percent = d->breaker_percent,
			     .window_ns = d->breaker_window_ms * MS_NS,
			     .cooldown_ns = d->breaker_cooldown_ms * MS_NS },
	};
}

struct filling { /* of one target from its definition */
	struct arena *arena;
	const struct target_definition *definition;
	struct error error; /* the first that came up */
};

/* NULL stays NULL; what cannot be replaced is NULL with the error. */
static const char *expand(struct filling *filling, const char *text)
{
	struct error error;
	const char *value;

	if (!text)
		return NULL;
	value = call_template_expand(filling->arena, text, filling->definition->env, &error);
	for (const char *c = value; c && *c; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f) {
			error_set(&error, ERROR_INVALID, "a variable has a control character");
			value = NULL;
			break;
		}
	}
	if (!value && !filling->error.code)
		filling->error = error;
	return value;
}

static char *expand_copy(struct filling *filling, const char *text)
{
	const char *value = expand(filling, text);

	return value ? xstrdup(value) : NULL;
}

static void fill_authorization(struct filling *filling, struct target *target)
{
	const struct target_definition *d = filling->definition;
	const char *bearer = expand(filling, d->bearer), *user = expand(filling, d->basic_user);
	const char *password = expand(filling, d->basic_password);
	const char *line = NULL;

	if (bearer) {
		line = arena_printf(filling->arena, "Authorization: Bearer %s", bearer);
	} else if (user && password) {
		const char *pair = arena_printf(filling->arena, "%s:%s", user, password);

		line = arena_printf(filling->arena, "Authorization: Basic %s",
				    base64_encode(filling->arena, pair, strlen(pair)));
	}
	target->authorization = line ? xstrdup(line) : NULL;
	if (d->token_url) {
		const char *url = expand(filling, d->token_url);
		const char *id = expand(filling, d->client_id);
		const char *secret = expand(filling, d->client_secret);

		if (url && id && secret)
			target->token =
				token_source_new(url, id, secret, expand(filling, d->scope));
	}
}

static struct target *make_declared(const struct target_definition *d, int64_t now_ns)
{
	struct filling filling = { .arena = arena_new(0), .definition = d };
	struct target_limits limits = limits_of(d);
	const char *text = expand(&filling, d->url);
	CURLU *url = curl_url();
	struct place place;
	struct target *target;
	bool placed = text && url && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
		      place_of(url, &place);

	if (placed)
		trim_slashes(place.path);
	target = target_new(placed ? place.origin : "", placed ? place.path : "", &limits, now_ns);
	target->own = d->own;
	if (placed)
		curl_free(place.path);
	else if (!filling.error.code)
		error_set(&filling.error, ERROR_INVALID, "its url is not one");
	curl_url_cleanup(url);
	target->name = xstrdup(d->name);
	target->fingerprint = fingerprint_of(d);
	target->timeout_ms = d->timeout_ms;
	target->connect_timeout_ms = d->connect_timeout_ms;
	target->http2 = d->http2;
	target->ca = expand_copy(&filling, d->tls_ca);
	target->cert = expand_copy(&filling, d->tls_cert);
	target->key = expand_copy(&filling, d->tls_key);
	fill_authorization(&filling, target);
	if (filling.error.code) {
		target->fault = xstrdup(filling.error.message);
		log_line(LOG_WARN, "target-unusable", LOG_S("target", d->name),
			 LOG_S("why", target->fault));
	}
	arena_free(&filling.arena);
	return target;
}

/* Of the same name and as it was: moves over. */
static struct target *keep(struct list *old, const struct target_definition *definition)
{
	char *fingerprint = fingerprint_of(definition);
	struct target *found = NULL;

	for (struct list *at = old->next; at != old && !found; at = at->next) {
		struct target *target = list_entry(at, struct target, link);

		if (!strcmp(target->name, definition->name) &&
		    !strcmp(target->fingerprint, fingerprint))
			found = target;
	}
	if (found)
		list_remove(&found->link);
	free(fingerprint);
	return found;
}

void targets_configure(struct targets *targets, const struct definitions *defs, int64_t now_ns)
{
	struct list old;

	list_init(&old);
	while (!list_empty(&targets->declared)) {
		struct list *first = targets->declared.next;

		list_remove(first);
		list_append(&old, first);
	}
	for (size_t i = 0; i < definitions_target_count(defs); i++) {
		const struct target_definition *definition = definitions_target_at(defs, i);
		struct target *target = keep(&old, definition);

		if (!target) {
			target = make_declared(definition, now_ns);
			observe(targets, target);
		}
		list_append(&targets->declared, &target->link);
	}
	while (!list_empty(&old)) {
		struct target *target = list_first(&old, struct target, link);

		list_remove(&target->link);
		list_append(&targets->gone, &target->link);
		target->gone = true;
		if (target->series.breaker)
			metric_set(target->series.breaker, 0);
		targets_release(targets, target);
	}
}

static void observe_list(struct targets *targets, struct list *list)
{
	for (struct list *at = list->next; at != list; at = at->next)
		observe(targets, list_entry(at, struct target, link));
}

void targets_observe(struct targets *targets, struct metrics *metrics)
{
	targets->metrics = metrics;
	observe_list(targets, &targets->declared);
	observe_list(targets, &targets->implicit);
}

/* ---- the table */

struct targets *targets_new(void)
{
	struct targets *targets = xcalloc(1, sizeof(*targets));

	list_init(&targets->declared);
	list_init(&targets->implicit);
	list_init(&targets->gone);
	return targets;
}

static void free_list(struct list *list)
{
	while (!list_empty(list)) {
		struct target *target = list_first(list, struct target, link);

		target_free(&target);
	}
}

void targets_free(struct targets **targets)
{
	free_list(&(*targets)->declared);
	free_list(&(*targets)->implicit);
	free_list(&(*targets)->gone);
	if ((*targets)->overflow)
		target_free(&(*targets)->overflow);
	free(*targets);
	*targets = NULL;
}

void targets_describe(const struct targets *targets, int64_t now_ns, struct strbuf *out)
{
	const char *comma = "";
	int count = 0;

	strbuf_addch(out, '[');
	for (const struct list *at = targets->declared.next; at != &targets->declared;
	     at = at->next) {
		strbuf_addstr(out, comma);
		target_describe(list_entry(at, struct target, link), now_ns, out);
		comma = ",";
	}
	for (const struct list *at = targets->implicit.next;
	     at != &targets->implicit && count < DESCRIBED_MAX; at = at->next, count++) {
		strbuf_addstr(out, comma);
		target_describe(list_entry(at, struct target, link), now_ns, out);
		comma = ",";
	}
	strbuf_addch(out, ']');
}
