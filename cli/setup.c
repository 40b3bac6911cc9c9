/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands that look at this machine's configuration or prepare it: migrate, check,
 * settings, key. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/base/clock.h"
#include "common/base/digest.h"
#include "common/config/definitions.h"
#include "common/config/settings.h"
#include "common/job/job.h"
#include "common/store/store.h"
#include "producers/gateway/access.h"
#include "producers/gateway/certificate.h"
#include "producers/gateway/keyring.h"

#include "cli/command.h"

/* ---- migrate */

static int migrate(const struct command *command, struct store *store)
{
	int have = 0, want = 0, applied = 0;
	struct error error;

	if (store_schema(store, &have, &want, &error) != 0)
		return command_failed(command, EX_UNAVAILABLE, "%s", error.message);
	if (store_migrate(store, &applied, &error) != 0)
		return command_failed(command,
				      error.code == ERROR_INVALID ? EX_CONFIG : EX_UNAVAILABLE,
				      "%s", error.message);
	printf("%s: schema %d, %d applied\n", store_label(store), want, applied);
	return EX_OK;
}

static const struct option no_options[] = { { "help", no_argument, NULL, 'h' },
					    { NULL, 0, NULL, 0 } };

int command_migrate(const struct command *command, int argc, char **argv)
{
	struct store *store = NULL;
	struct settings settings;
	struct error error;
	int code;

	if (command_option(command, argc, argv, no_options) != -1)
		return EX_USAGE;
	if (optind < argc)
		return command_misused(command, "%s is too much", argv[optind]);
	if (settings_load(&settings, stderr) != 0)
		return EX_CONFIG;
	if (store_open(settings.database_url, STORE_WRITE, "migrate", &store, &error) == 0)
		code = migrate(command, store);
	else
		code = command_failed(command,
				      error.code == ERROR_INVALID ? EX_CONFIG : EX_UNAVAILABLE,
				      "%s", error.message);
	store_close(&store);
	settings_release(&settings);
	return code;
}

/* ---- check */

/* Keys are read by the gateway; a line that is wrong shall be found before it starts. */
static bool check_keys(const struct settings *settings)
{
	struct error error;
	bool open;

	if (access_check(settings, &open, &error) < 0) {
		fprintf(stderr, "%s\n", error.message);
		return false;
	}
	if (!open || settings_listen_loopback(settings->http_listen))
		return true;
	fprintf(stderr,
		"WINDLASS_HTTP_LISTEN=%s: open to other machines, and WINDLASS_API_KEYS is not set; `windlass key new` makes a key\n",
		settings->http_listen);
	return false;
}

static bool check_certificate(const struct settings *settings)
{
	struct tls_pair *pair;
	struct error error;

	if (certificate_load(settings, &pair, &error) < 0) {
		fprintf(stderr, "%s\n", error.message);
		return false;
	}
	tls_pair_unref(&pair);
	return true;
}

static int check(void)
{
	struct definitions *defs;
	struct settings settings;
	bool good;

	if (settings_load(&settings, stderr) != 0)
		return EX_CONFIG;
	defs = definitions_open(&settings, stderr);
	good = check_keys(&settings);
	good = check_certificate(&settings) && good && defs;
	if (good)
		printf("%s: %zu job types, %zu queues, %zu sources: good\n", settings.jobs_path,
		       definitions_type_count(defs), definitions_queue_count(defs),
		       definitions_source_count(defs));
	if (good && !*settings.broker_url)
		definitions_say_idle(defs, stdout);
	definitions_unref(&defs);
	settings_release(&settings);
	return good ? EX_OK : EX_CONFIG;
}

int command_check(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = { { "schema", no_argument, NULL, 's' },
						 { "help", no_argument, NULL, 'h' },
						 { NULL, 0, NULL, 0 } };
	bool schema = false;
	int option;

	while ((option = command_option(command, argc, argv, options)) != -1) {
		if (option != 's')
			return EX_USAGE;
		schema = true;
	}
	if (optind < argc)
		return command_misused(command, "%s is too much; WINDLASS_JOBS names the file",
				       argv[optind]);
	if (!schema)
		return check();
	definitions_schema(stdout);
	return EX_OK;
}

/* ---- settings */

int command_settings(const struct command *command, int argc, char **argv)
{
	struct settings settings;
	bool json = false;

	if (!command_json(command, argc, argv, 0, &json))
		return EX_USAGE;
	if (settings_load(&settings, stderr) != 0)
		return EX_CONFIG;
	settings_print(&settings, stdout, json);
	settings_release(&settings);
	return EX_OK;
}

/* ---- key */

#define SECRET_BYTES 24

struct key_options {
	const char *id, *tenant, *scopes, *expires, *rate, *burst, *waiting; /* NULL: not given */
};

static void add_option(struct strbuf *line, const char *name, const char *value)
{
	if (value)
		strbuf_printf(line, " %s=%s", name, value);
}

static void write_line(struct strbuf *line, const struct key_options *options, const char *hash)
{
	strbuf_printf(line, "id=%s hash=%s", options->id, hash);
	add_option(line, "tenant", options->tenant);
	add_option(line, "scopes", options->scopes);
	add_option(line, "expires", options->expires);
	add_option(line, "rate", options->rate);
	add_option(line, "burst", options->burst);
	add_option(line, "waiting", options->waiting);
}

static int print_key(const struct key_options *options)
{
	uint8_t secret[SECRET_BYTES], hash[SHA256_BYTES];
	char secret_text[2 * SECRET_BYTES + 1], hash_text[2 * SHA256_BYTES + 1],
		key[2 * SECRET_BYTES + JOB_TYPE_MAX + 8];
	struct strbuf line;

	random_bytes(secret, sizeof(secret));
	digest_hex(secret, sizeof(secret), secret_text);
	snprintf(key, sizeof(key), "wl_%s_%s", options->id, secret_text);
	digest_sha256(key, strlen(key), hash);
	digest_hex(hash, sizeof(hash), hash_text);
	strbuf_init(&line);
	write_line(&line, options, hash_text);
	printf("The key, shown only now; for the client, as WINDLASS_API_KEY or `Authorization: Bearer …`:\n%s\n\n",
	       key);
	printf("The line for WINDLASS_API_KEYS of the gateway:\n%s\n", line.data);
	strbuf_release(&line);
	explicit_bzero(key, sizeof(key));
	explicit_bzero(secret_text, sizeof(secret_text));
	return EX_OK;
}

/* What the gateway would say about such a line. */
static int check_line(const struct command *command, const struct key_options *options)
{
	static const char zeros[] =
		"0000000000000000000000000000000000000000000000000000000000000000";
	struct keyring *ring;
	struct error error;
	struct strbuf line;

	strbuf_init(&line);
	write_line(&line, options, zeros);
	ring = keyring_parse(line.data, &error);
	strbuf_release(&line);
	if (!ring)
		return command_misused(command, "%s", error.message);
	keyring_free(&ring);
	return EX_OK;
}

static const char **key_option(struct key_options *options, int option)
{
	switch (option) {
	case 's':
		return &options->scopes;
	case 't':
		return &options->tenant;
	case 'e':
		return &options->expires;
	case 'r':
		return &options->rate;
	case 'b':
		return &options->burst;
	case 'w':
		return &options->waiting;
	default:
		return NULL;
	}
}

int command_key(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{ "scopes", required_argument, NULL, 's' },
		{ "tenant", required_argument, NULL, 't' },
		{ "expires", required_argument, NULL, 'e' },
		{ "rate", required_argument, NULL, 'r' },
		{ "burst", required_argument, NULL, 'b' },
		{ "waiting", required_argument, NULL, 'w' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct key_options key = { .scopes = "enqueue:*,read,cancel" };
	char made[16];
	int option;

	while ((option = command_option(command, argc, argv, options)) != -1) {
		const char **place = key_option(&key, option);
		if (!place)
			return EX_USAGE;
		*place = optarg;
	}
	if (argc - optind < 1 || argc - optind > 2 || strcmp(argv[optind], "new") != 0)
		return command_misused(command, "expected new");
	snprintf(made, sizeof(made), "k%07x", (unsigned)random_below(0x10000000));
	key.id = argc - optind == 2 ? argv[optind + 1] : made;
	if (check_line(command, &key) != EX_OK)
		return EX_USAGE;
	return print_key(&key);
}
