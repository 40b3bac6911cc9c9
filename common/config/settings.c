/* SPDX-License-Identifier: Apache-2.0 */
/* Reads, checks and prints the settings of the table in settings_rows.c. Called by main once; the
 * result never changes. */
#include "common/config/settings.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/strbuf.h"
#include "common/config/settings_rows.h"
#include "common/config/suggest.h"

#define PREFIX "WINDLASS_"

/* Not settings, but ours: set by one process for another one or by tests. */
static const char *const known_names[] = { "WINDLASS_SETTINGS_FD", "WINDLASS_METRICS_FD",
					   "WINDLASS_FAILPOINT" };

/* Settings of parts that this version does not have: refused by name rather than ignored. */
static const char *const later_names[] = {
	"WINDLASS_OTLP_URL",
};

extern char **environ;

static int cores(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
		return CPU_COUNT(&set);
	return 1;
}

static void put_default(const struct setting_row *row, struct settings *settings,
			struct strbuf *why)
{
	char text[24];

	if (row->default_text && !*row->default_text) {
		*(char **)(void *)((char *)settings + row->offset) = xstrdup("");
		return;
	}
	snprintf(text, sizeof(text), "%d",
		 cores() * 4 > (int)row->max ? (int)row->max : cores() * 4);
	CHECK(!setting_put(row, settings, row->default_text ? row->default_text : text, why));
}

static bool load_row(struct settings_source *source, const struct setting_row *row,
		     struct settings *settings, FILE *errors)
{
	struct strbuf why;
	bool failed = false;
	const char *wrong;
	char *text;

	strbuf_init(&why);
	put_default(row, settings, &why);
	text = settings_source_read(source, row, errors, &failed);
	wrong = text && !failed ? setting_put(row, settings, text, &why) : NULL;
	if (wrong && row->secret)
		fprintf(errors, "%s: %s\n", row->name, wrong);
	else if (wrong)
		fprintf(errors, "%s=%s: %s\n", row->name, text, wrong);
	settings_wipe(&text);
	strbuf_release(&why);
	return !wrong && !failed;
}

static bool is_listed(const char *name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

/* NAME_FILE of a secret is known too. */
static bool is_known(const char *name)
{
	char stem[128];
	size_t bytes = strlen(name);
	const struct setting_row *row = setting_find(name);

	if (row || is_listed(name, known_names, ARRAY_LEN(known_names)))
		return true;
	if (bytes < 6 || bytes >= sizeof(stem) || strcmp(name + bytes - 5, "_FILE") != 0)
		return false;
	memcpy(stem, name, bytes - 5);
	stem[bytes - 5] = 0;
	row = setting_find(stem);
	return row && row->secret;
}

static bool check_name(const char *name, FILE *errors)
{
	struct suggest suggest = { 0 };

	if (is_listed(name, later_names, ARRAY_LEN(later_names))) {
		fprintf(errors, "%s: not available in this version\n", name);
		return false;
	}
	if (strncmp(name, PREFIX, strlen(PREFIX)) != 0 || is_known(name))
		return true;
	suggest.word = name + strlen(PREFIX); /* what all begin with says nothing */
	for (size_t i = 0; i < setting_row_count; i++) {
		if (strncmp(setting_rows[i].name, PREFIX, strlen(PREFIX)) == 0)
			suggest_offer(&suggest, setting_rows[i].name + strlen(PREFIX));
	}
	fprintf(errors, "%s: unknown setting; ", name);
	if (suggest.best)
		fprintf(errors, "did you mean " PREFIX "%s? ", suggest.best);
	fprintf(errors, "`windlass settings` lists them\n");
	return false;
}

static bool check_names(FILE *errors)
{
	bool good = true;
	char name[256];

	for (char **entry = environ; entry && *entry; entry++) {
		size_t bytes = strcspn(*entry, "=");

		if (bytes >= sizeof(name))
			continue;
		memcpy(name, *entry, bytes);
		name[bytes] = 0;
		good = check_name(name, errors) && good;
	}
	return good;
}

int settings_load(struct settings *settings_r, FILE *errors)
{
	struct settings_source source;
	bool good;

	*settings_r = (struct settings){ 0 };
	good = settings_source_init(&source, errors) == 0;
	for (size_t i = 0; i < setting_row_count; i++)
		good = load_row(&source, &setting_rows[i], settings_r, errors) && good;
	settings_r->secret_paths = settings_source_paths(&source);
	settings_source_release(&source);
	good = check_names(errors) && good;
	if (!good)
		settings_release(settings_r);
	return good ? 0 : -1;
}

static bool is_text(const struct setting_row *row)
{
	return row->kind < SETTING_INT;
}

void settings_release(struct settings *settings)
{
	for (size_t i = 0; i < setting_row_count; i++) {
		if (is_text(&setting_rows[i]))
			settings_wipe((char **)(void *)((char *)settings + setting_rows[i].offset));
	}
	settings_wipe(&settings->secret_paths);
	*settings = (struct settings){ 0 };
}

/* What may be shown. */
static void shown_value(const struct setting_row *row, const struct settings *settings,
			struct strbuf *out)
{
	strbuf_clear(out);
	setting_format(row, settings, out);
	if (!row->secret || (row->default_text && strcmp(out->data, row->default_text) == 0))
		return;
	explicit_bzero(out->data, out->len);
	strbuf_clear(out);
	strbuf_addstr(out, "set");
}

static const char *shown_default(const struct setting_row *row)
{
	return row->default_text && *row->default_text ? row->default_text
	       : row->default_note                     ? row->default_note
						       : "";
}

static void print_json(const struct setting_row *row, const char *value, bool last, FILE *out)
{
	struct strbuf line;

	strbuf_init(&line);
	strbuf_addstr(&line, " {\"name\":");
	strbuf_json(&line, row->name);
	strbuf_addstr(&line, ",\"value\":");
	strbuf_json(&line, value);
	strbuf_addstr(&line, ",\"default\":");
	strbuf_json(&line, shown_default(row));
	strbuf_addstr(&line, ",\"unit\":");
	strbuf_json(&line, row->unit);
	strbuf_printf(&line, ",\"secret\":%s,\"help\":", row->secret ? "true" : "false");
	strbuf_json(&line, row->help);
	strbuf_addstr(&line, last ? "}\n" : "},\n");
	fputs(line.data, out);
	strbuf_release(&line);
}

void settings_print(const struct settings *settings, FILE *out, bool json)
{
	struct strbuf value;

	strbuf_init(&value);
	if (json)
		fputs("[\n", out);
	for (size_t i = 0; i < setting_row_count; i++) {
		const struct setting_row *row = &setting_rows[i];

		shown_value(row, settings, &value);
		if (json) {
			print_json(row, value.data, i + 1 == setting_row_count, out);
			continue;
		}
		fprintf(out, "%s=%s\n    %s", row->name, value.data, row->help);
		if (*shown_default(row))
			fprintf(out, " Default: %s.", shown_default(row));
		fputc('\n', out);
	}
	if (json)
		fputs("]\n", out);
	strbuf_release(&value);
}

bool settings_listen_loopback(const char *listen)
{
	return strncmp(listen, "127.", 4) == 0 || strncmp(listen, "[::1]:", 6) == 0 ||
	       strncmp(listen, "localhost:", 10) == 0;
}

const char *settings_admin_listen(const struct settings *settings)
{
	if (*settings->admin_listen)
		return settings->admin_listen;
	return settings_listen_loopback(settings->http_listen) ? settings->http_listen
							       : "127.0.0.1:8081";
}
