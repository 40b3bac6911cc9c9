/* SPDX-License-Identifier: Apache-2.0 */
/* `windlass limits`: what is limited and how much of it is used; `queue NAME` or `type NAME` with
 * options sets what stands in the stead of the definitions file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/base/strbuf.h"
#include "common/job/job.h"

#include "cli/api.h"

struct asked {
	const char *concurrency, *rate, *key_concurrency, *key_rate, *fair, *weights;
	bool reset, json;
};

static const struct option options[] = { { "concurrency", required_argument, NULL, 'c' },
					 { "rate", required_argument, NULL, 'r' },
					 { "key-concurrency", required_argument, NULL, 'C' },
					 { "key-rate", required_argument, NULL, 'R' },
					 { "fair", required_argument, NULL, 'f' },
					 { "weights", required_argument, NULL, 'w' },
					 { "reset", no_argument, NULL, 'x' },
					 { "json", no_argument, NULL, 'j' },
					 { NULL, 0, NULL, 0 } };

static bool read_options(const struct command *command, int argc, char **argv,
			 struct asked *asked_r)
{
	int letter;

	while ((letter = command_option(command, argc, argv, options)) != -1) {
		switch (letter) {
		case 'c':
			asked_r->concurrency = optarg;
			break;
		case 'r':
			asked_r->rate = optarg;
			break;
		case 'C':
			asked_r->key_concurrency = optarg;
			break;
		case 'R':
			asked_r->key_rate = optarg;
			break;
		case 'f':
			asked_r->fair = optarg;
			break;
		case 'w':
			asked_r->weights = optarg;
			break;
		case 'x':
			asked_r->reset = true;
			break;
		case 'j':
			asked_r->json = true;
			break;
		default:
			return false;
		}
	}
	return true;
}

/* ---- what is said */

/* A number as such; the rest is the API's to judge. */
static json_t *value_of(const char *text)
{
	json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);

	return value ? value : json_string(text);
}

static void put(json_t *body, const char *member, const char *text)
{
	if (text)
		json_object_set_new(body, member, value_of(text));
}

/* What was set before stays, as far as it is not said anew. */
static json_t *make_body(const struct asked *asked, const json_t *before)
{
	json_t *body = asked->reset ? json_object() : json_deep_copy(before);
	json_t *per_key = json_object_get(body, "per_key");

	if (asked->key_concurrency || asked->key_rate) {
		if (!per_key) {
			per_key = json_object();
			json_object_set_new(body, "per_key", per_key);
		}
		put(per_key, "concurrency", asked->key_concurrency);
		put(per_key, "rate", asked->key_rate);
	}
	put(body, "concurrency", asked->concurrency);
	put(body, "rate", asked->rate);
	put(body, "fair", asked->fair);
	put(body, "weights", asked->weights);
	return body;
}

static bool says_something(const struct asked *asked)
{
	return asked->concurrency || asked->rate || asked->key_concurrency || asked->key_rate ||
	       asked->fair || asked->weights || asked->reset;
}

static void print(json_t *items)
{
	static const char *const headings[] = { "OF",      "NAME", "CONCURRENCY", "RATE",
						"PER KEY", "FAIR", "IN HAND",     "NEXT IN" };
	static const char *const members[] = { "of",      "name", "concurrency", "rate",
					       "per_key", "fair", "in_hand",     "next_seconds" };
	size_t i;
	json_t *item;

	json_array_foreach(items, i, item)
	{
		const json_t *force = json_object_get(item, "in_force");

		for (size_t n = 2; n < 6; n++)
			json_object_set(item, members[n], json_object_get(force, members[n]));
	}
	api_print_table(items, headings, members, ARRAY_LEN(headings));
}

static int show(struct api *api, const char *path, const struct asked *asked)
{
	json_t *answer = NULL, *items;
	int code = api_call(api, "GET", path, NULL, API_TIMEOUT_MS, &answer);

	if (code == EX_OK && asked->json) {
		api_print_json(answer);
	} else if (code == EX_OK) {
		items = json_incref(json_object_get(answer, "items"));
		if (!items)
			items = json_pack("[O]", answer);
		print(items);
		json_decref(items);
	}
	json_decref(answer);
	return code;
}

static int set(struct api *api, const char *path, const struct asked *asked)
{
	json_t *answer = NULL, *body;
	int code = api_call(api, "GET", path, NULL, API_TIMEOUT_MS, &answer);
	char *text;

	if (code != EX_OK)
		return code;
	body = make_body(asked, json_object_get(answer, "set"));
	text = json_dumps(body, JSON_COMPACT);
	json_decref(body);
	json_decref(answer);
	answer = NULL;
	code = api_call(api, "PUT", path, text, API_TIMEOUT_MS, &answer);
	free(text);
	json_decref(answer);
	return code == EX_OK ? show(api, path, asked) : code;
}

static int run(struct api *api, int argc, char **argv, const struct asked *asked)
{
	struct strbuf path;
	int code;

	if (argc == 0)
		return show(api, "/v1/limits", asked);
	strbuf_init(&path);
	strbuf_printf(&path, "/v1/%ss/%s/limits", argv[0], argv[1]); /* a name needs no escapes */
	code = says_something(asked) ? set(api, path.data, asked) : show(api, path.data, asked);
	strbuf_release(&path);
	return code;
}

int command_limits(const struct command *command, int argc, char **argv)
{
	struct asked asked = { 0 };
	struct api api;
	int left, code;

	if (!read_options(command, argc, argv, &asked))
		return EX_USAGE;
	left = argc - optind;
	argv += optind;
	if (left != 0 &&
	    (left != 2 || (strcmp(argv[0], "queue") != 0 && strcmp(argv[0], "type") != 0)))
		return command_misused(command, "expected nothing, queue NAME or type NAME");
	if (!left && says_something(&asked))
		return command_misused(command, "expected queue NAME or type NAME");
	if (left && !job_name_valid(argv[1]))
		return command_failed(command, EX_DATAERR, "%s is no name", argv[1]);
	code = api_open(&api, command);
	if (code == EX_OK)
		code = run(&api, left, argv, &asked);
	api_close(&api);
	return code;
}
