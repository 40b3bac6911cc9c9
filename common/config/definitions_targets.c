/* SPDX-License-Identifier: Apache-2.0 */
/* `targets:`: the third parties that jobs call. The table of keys, and what they mean together: one
 * way to authenticate, a certificate with its key, a URL that is an origin and perhaps a prefix.
 * Opens no file and reads no variable: only workers have them. */
#include "common/config/definitions_targets.h"

#include <string.h>
#include <strings.h>

#include "common/config/definitions_files.h"

#define HOUR_MS       INT64_C(3600000)
#define VARIABLES_MAX 16

#define TARGET(field) offsetof(struct target_definition, field)

static const struct key_row breaker_rows[] = {
	{ .name = "failures",
	  .kind = KEY_INT,
	  .offset = TARGET(breaker_failures),
	  .min = 1,
	  .max = 1000000,
	  .default_text = "10",
	  .help = "Failed calls in a window from which on it opens: no connection, a time-out, a broken answer or a 5xx." },
	{ .name = "percent",
	  .kind = KEY_INT,
	  .offset = TARGET(breaker_percent),
	  .min = 1,
	  .max = 100,
	  .default_text = "50",
	  .help = "They must be at least this part of the window's calls." },
	{ .name = "window",
	  .kind = KEY_DURATION,
	  .offset = TARGET(breaker_window_ms),
	  .min = 100,
	  .max = HOUR_MS,
	  .default_text = "10s",
	  .help = "How far back calls are counted." },
	{ .name = "cooldown",
	  .kind = KEY_DURATION,
	  .offset = TARGET(breaker_cooldown_ms),
	  .min = 100,
	  .max = HOUR_MS,
	  .default_text = "10s",
	  .help = "How long it stays open before one call is let through to see." },
	{ .name = "off",
	  .kind = KEY_FLAG,
	  .offset = TARGET(breaker_off),
	  .help = "true: it never opens." },
};
static const struct key_rows breaker_keys = KEY_ROWS(breaker_rows);

static const struct key_row tls_rows[] = {
	{ .name = "ca",
	  .kind = KEY_TEMPLATE,
	  .offset = TARGET(tls_ca),
	  .help = "PEM file of the authorities that are trusted here instead of the worker's; its path, relative to this file." },
	{ .name = "cert",
	  .kind = KEY_TEMPLATE,
	  .offset = TARGET(tls_cert),
	  .help = "PEM file of the client certificate." },
	{ .name = "key",
	  .kind = KEY_TEMPLATE,
	  .offset = TARGET(tls_key),
	  .help = "PEM file of its key." },
};
static const struct key_rows tls_keys = KEY_ROWS(tls_rows);

static const struct key_row basic_rows[] = {
	{ .name = "user",
	  .kind = KEY_TEMPLATE,
	  .offset = TARGET(basic_user),
	  .required = true,
	  .help = "User name." },
	{ .name = "password",
	  .kind = KEY_SECRET,
	  .offset = TARGET(basic_password),
	  .required = true,
	  .help = "Password, as ${env.NAME}." },
};
static const struct key_rows basic_keys = KEY_ROWS(basic_rows);

static const struct key_row oauth2_rows[] = {
	{ .name = "token_url",
	  .kind = KEY_TEMPLATE,
	  .offset = TARGET(token_url),
	  .required = true,
	  .help = "Where tokens are asked for." },
	{ .name = "client_id",
	  .kind = KEY_TEMPLATE,
	  .offset = TARGET(client_id),
	  .required = true,
	  .help = "Who asks." },
	{ .name = "client_secret",
	  .kind = KEY_SECRET,
	  .offset = TARGET(client_secret),
	  .required = true,
	  .help = "Its secret, as ${env.NAME}." },
	{ .name = "scope",
	  .kind = KEY_TEMPLATE,
	  .offset = TARGET(scope),
	  .help = "Scopes that are asked for, with blanks between." },
};
static const struct key_rows oauth2_keys = KEY_ROWS(oauth2_rows);

static const struct key_row auth_rows[] = {
	{ .name = "bearer",
	  .kind = KEY_SECRET,
	  .offset = TARGET(bearer),
	  .help = "A bearer token, as ${env.NAME}." },
	{ .name = "basic",
	  .kind = KEY_MAP,
	  .members = &basic_keys,
	  .help = "User name and password." },
	{ .name = "oauth2",
	  .kind = KEY_MAP,
	  .members = &oauth2_keys,
	  .help = "OAuth 2.0 client credentials: a token is fetched, kept, and fetched again before it expires." },
};
static const struct key_rows auth_keys = KEY_ROWS(auth_rows);

static const struct key_row lookup_rows[] = {
	{ .name = "url",
	  .kind = KEY_TEXT,
	  .offset = TARGET(lookup_url_text),
	  .required = true,
	  .help = "What is asked with GET; ${call.key} is the key that the call was sent with." },
};
static const struct key_rows lookup_keys = KEY_ROWS(lookup_rows);

static const struct key_row target_rows[] = {
	{ .name = "url",
	  .kind = KEY_TEMPLATE,
	  .offset = TARGET(url),
	  .required = true,
	  .help = "Scheme, host, port and perhaps the first part of the path: calls to what is below it belong to this target." },
	{ .name = "rate",
	  .kind = KEY_RATE,
	  .offset = TARGET(rate_per_s),
	  .max = 1000000,
	  .help = "Calls that one worker starts at most, as in 50/s or 100/m; no limit when absent." },
	{ .name = "concurrency",
	  .kind = KEY_INT,
	  .offset = TARGET(concurrency),
	  .min = 1,
	  .max = 4096,
	  .default_text = "64",
	  .help = "Calls that one worker has under way at once." },
	{ .name = "waiting",
	  .kind = KEY_INT,
	  .offset = TARGET(waiting_max),
	  .min = 1,
	  .max = 4096,
	  .help = "Calls that wait for their turn; four times the concurrency when absent. More are held: their jobs come again later." },
	{ .name = "timeout",
	  .kind = KEY_DURATION,
	  .offset = TARGET(timeout_ms),
	  .min = 10,
	  .max = HOUR_MS,
	  .default_text = "30s",
	  .help = "The longest that a call may take; a call may ask for less." },
	{ .name = "connect_timeout",
	  .kind = KEY_DURATION,
	  .offset = TARGET(connect_timeout_ms),
	  .min = 10,
	  .max = HOUR_MS,
	  .default_text = "3s",
	  .help = "The longest that a connection may take, TLS included." },
	{ .name = "breaker",
	  .kind = KEY_MAP,
	  .members = &breaker_keys,
	  .help = "When a target that fails is left alone." },
	{ .name = "retry_budget",
	  .kind = KEY_INT,
	  .offset = TARGET(retry_percent),
	  .min = 1,
	  .max = 100,
	  .default_text = "10",
	  .help = "Calls that are made again while the target fails, in percent of its calls." },
	{ .name = "tls",
	  .kind = KEY_MAP,
	  .members = &tls_keys,
	  .help = "Whom to trust, and the worker's own certificate." },
	{ .name = "auth",
	  .kind = KEY_MAP,
	  .members = &auth_keys,
	  .help = "How calls authenticate: one of bearer, basic, oauth2." },
	{ .name = "http2",
	  .kind = KEY_FLAG,
	  .offset = TARGET(http2),
	  .default_text = "true",
	  .help = "false: HTTP/1.1 even where the target offers HTTP/2." },
	{ .name = "ambiguous",
	  .kind = KEY_POLICY,
	  .offset = TARGET(ambiguous),
	  .default_text = "resend_same_key",
	  .help = "When a handler's call to it was sent and its fate is not known: resend_same_key, lookup or park. GET and HEAD are sent again." },
	{ .name = "lookup",
	  .kind = KEY_MAP,
	  .members = &lookup_keys,
	  .help = "ambiguous: lookup asks here before it sends again; 2xx: it was done, 404: it was not." },
	KEY_OF_LATER("proxy"),
};
const struct key_rows definitions_target_keys = KEY_ROWS(target_rows);

static struct yaml_place place_in(const struct yaml_node *map, const char *outer, const char *inner)
{
	const struct yaml_node *node = definitions_member(map, outer);
	const struct yaml_node *member = inner ? definitions_member(node, inner) : NULL;

	return member ? member->place : node ? node->place : map->place;
}

/* ---- one thing at a time */

/* What stands there already is checked; what comes from the environment is checked by the worker.
 */
static const char *url_fault(const char *url)
{
	const char *host;

	if (!strncmp(url, "${", 2))
		return NULL;
	if (strncasecmp(url, "https://", 8) != 0 && strncasecmp(url, "http://", 7) != 0)
		return "expected http:// or https://";
	host = strstr(url, "://") + 3;
	if (!*host || *host == '/' || *host == '?' || *host == '#')
		return "it has no host";
	if (strpbrk(host, "?#") || strpbrk(url, " \t\r\n"))
		return "it has a query, a fragment or a blank; expected scheme://host[:port][/prefix]";
	if (memchr(host, '@', strcspn(host, "/")))
		return "it has a user name; credentials belong under `auth`";
	return NULL;
}

static void check_url(struct key_reader *reader, const struct yaml_node *map, const char *outer,
		      const char *inner, const char *url)
{
	const char *fault = url ? url_fault(url) : NULL;

	if (fault)
		problem_add(reader->problems, place_in(map, outer, inner), "`%s`: %s",
			    inner ? inner : outer, fault);
}

static void check_auth(struct key_reader *reader, const struct yaml_node *map)
{
	const struct yaml_node *auth = definitions_member(map, "auth");

	if (auth && auth->kind == YAML_MAP && auth->count != 1)
		problem_add(reader->problems, auth->place,
			    "`auth` has %zu ways; expected one of bearer, basic, oauth2",
			    auth->count);
}

static void check_tls(struct key_reader *reader, const struct yaml_node *map, const char *directory,
		      struct target_definition *target)
{
	const char **paths[] = { &target->tls_ca, &target->tls_cert, &target->tls_key };

	if (!target->tls_cert != !target->tls_key)
		problem_add(reader->problems, place_in(map, "tls", NULL),
			    "`tls`: `cert` and `key` belong together");
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		if (*paths[i] && strncmp(*paths[i], "${", 2) != 0)
			*paths[i] = definitions_path(directory, *paths[i], reader->arena);
	}
}

static void check_lookup(struct key_reader *reader, const struct yaml_node *map,
			 struct target_definition *target)
{
	const struct substitution_rules rules = { .call_key = true };
	bool wanted = target->ambiguous == CALL_LOOKUP;
	struct substitution_problem problem;

	if (wanted != (definitions_member(map, "lookup") != NULL))
		problem_add(reader->problems, place_in(map, wanted ? "ambiguous" : "lookup", NULL),
			    wanted ? "`ambiguous: lookup` needs `lookup`"
				   : "`lookup` has no meaning without `ambiguous: lookup`");
	if (target->lookup_url_text &&
	    text_template_parse(target->lookup_url_text, TEXT_URL, &rules, reader->arena,
				&target->lookup_url, &problem) != 0)
		problem_add(reader->problems, place_in(map, "lookup", "url"), "`lookup`: %s",
			    problem.message);
}

/* ---- the variables that a target names */

struct variables {
	const char *names[VARIABLES_MAX + 1];
	size_t count;
	bool full;
};

static void add_variable(struct variables *variables, const char *name)
{
	for (size_t i = 0; i < variables->count; i++) {
		if (!strcmp(variables->names[i], name))
			return;
	}
	variables->full = variables->full || variables->count == VARIABLES_MAX;
	if (!variables->full)
		variables->names[variables->count++] = name;
}

static void add_variables(struct variables *variables, const char *text, struct arena *arena)
{
	for (const char *at = text ? strstr(text, "${") : NULL; at; at = strstr(at + 2, "${")) {
		const char *name = at + strlen("${env."), *end = strchr(at, '}');

		if ((at == text || at[-1] != '$') && end > name)
			add_variable(variables, arena_strndup(arena, name, (size_t)(end - name)));
	}
}

/* False: there are too many. */
static bool name_variables(struct key_reader *reader, struct target_definition *target)
{
	const char *const texts[] = { target->url,       target->tls_ca,         target->tls_cert,
				      target->tls_key,   target->bearer,         target->basic_user,
				      target->token_url, target->basic_password, target->client_id,
				      target->scope,     target->client_secret };
	struct variables variables = { .count = 0 };
	const char **names;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		add_variables(&variables, texts[i], reader->arena);
	names = ARENA_ARRAY(reader->arena, const char *, variables.count + 1);
	memcpy(names, variables.names, variables.count * sizeof(*names));
	target->env = names;
	return !variables.full;
}

void definitions_make_target(struct key_reader *reader, const char *name, const char *url,
			     double rate_per_s, struct target_definition *target)
{
	definitions_read_keys(reader, &definitions_target_keys, NULL, target);
	target->name = name;
	target->url = arena_strndup(reader->arena, url, text_template_authority(url));
	target->rate_per_s = rate_per_s;
	target->own = true;
	target->waiting_max = 4 * target->concurrency;
	CHECK(name_variables(reader, target));
}

void definitions_read_target(struct key_reader *reader, const struct yaml_node *key,
			     const struct yaml_node *map, const char *directory,
			     struct target_definition *target)
{
	target->name = key->text;
	target->line = key->place.line;
	target->column = key->place.column;
	definitions_read_keys(reader, &definitions_target_keys, map, target);
	check_url(reader, map, "url", NULL, target->url);
	check_auth(reader, map);
	if (target->token_url) {
		const struct yaml_node *auth = definitions_member(map, "auth");

		check_url(reader, auth, "oauth2", "token_url", target->token_url);
	}
	check_tls(reader, map, directory, target);
	check_lookup(reader, map, target);
	if (!name_variables(reader, target))
		problem_add(reader->problems, key->place,
			    "`%s` names more than %d environment variables", key->text,
			    VARIABLES_MAX);
	if (!target->waiting_max)
		target->waiting_max = 4 * target->concurrency;
}
