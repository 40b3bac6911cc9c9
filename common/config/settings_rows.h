/* SPDX-License-Identifier: Apache-2.0 */
/* The table of settings, for the files that read, check and print it (settings.c,
 * settings_secret.c). Others use settings.h. */
#ifndef COMMON_CONFIG_SETTINGS_ROWS_H
#define COMMON_CONFIG_SETTINGS_ROWS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/strbuf.h"
#include "common/config/settings.h"

enum setting_kind {
	/* char *; all of them stand before SETTING_INT */
	SETTING_TEXT,
	SETTING_LISTEN,   /* HOST:PORT */
	SETTING_DATABASE, /* sqlite:PATH or postgresql://… */
	SETTING_BROKER,   /* see broker_url.h; or empty */
	SETTING_KEYS,     /* whsec_… keys, or empty */
	SETTING_URL,      /* http(s)://… */
	SETTING_NETWORKS, /* see cidr.h */
	SETTING_INT,      /* int */
	SETTING_COUNT,    /* int64_t */
	SETTING_DURATION, /* int64_t, ms */
	SETTING_SIZE,     /* int64_t, bytes */
	SETTING_LEVEL,
	SETTING_LOG_JOBS,
};

struct setting_row {
	const char *name;
	enum setting_kind kind;
	size_t offset;            /* in struct settings */
	const char *default_text; /* NULL: worked out at the start, see default_note */
	const char *default_note;
	int64_t min, max; /* in the unit of the kind */
	const char *unit;
	bool secret;
	const char *help;
};

extern const struct setting_row setting_rows[];
extern const size_t setting_row_count;

/* Checks text and puts it in place. NULL, or what is wrong with it ("not a duration; expected
 * 1s..1h"), in `why`, which is cleared first. */
const char *setting_put(const struct setting_row *row, struct settings *settings, const char *text,
			struct strbuf *why);
/* The value as it could be given again; secrets too. */
void setting_format(const struct setting_row *row, const struct settings *settings,
		    struct strbuf *out);
const struct setting_row *setting_find(const char *name); /* NULL: none */

/* ---- settings_secret.c: values that are not in the environment itself */
struct settings_source {
	char *handed; /* "NAME=value" NUL … "" of WINDLASS_SETTINGS_FD, or NULL */
	size_t handed_bytes;
	struct strbuf paths; /* of files that were read, a line each */
};
/* 0, or -1 after saying why. */
int settings_source_init(struct settings_source *source, FILE *errors) must_check;
void settings_source_release(struct settings_source *source); /* wipes it */
/* The row's text as given, to be wiped and freed by the caller (settings_wipe); NULL when it is not
 * set, or with *failed_r after saying why. */
char *settings_source_read(struct settings_source *source, const struct setting_row *row,
			   FILE *errors, bool *failed_r);
/* For settings.secret_paths, once all rows are read; to be freed. */
char *settings_source_paths(struct settings_source *source);

#endif
