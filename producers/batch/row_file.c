/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a file below WINDLASS_BATCH_DIR: NDJSON, a line a row, or CSV (RFC 4180) with a line of
 * names, whose rows are objects of texts. The position is the offset of the next row. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/strbuf.h"
#include "producers/batch/row_source_impl.h"

#define ROW_BYTES_MAX (16 * 1024 * 1024)
#define COLUMNS_MAX   1000

/* ---- one record of CSV */

struct record {
	struct strbuf *fields; /* COLUMNS_MAX of them, reused */
	size_t count;
	bool bad; /* a quote where none may be, or none at the end */
};

static struct strbuf *next_field(struct record *record)
{
	if (record->count == COLUMNS_MAX) {
		record->bad = true;
		strbuf_clear(&record->fields[COLUMNS_MAX - 1]);
		return &record->fields[COLUMNS_MAX - 1];
	}
	struct strbuf *field = &record->fields[record->count++];

	if (field->data)
		strbuf_clear(field);
	else
		strbuf_init(field);
	return field;
}

/* Behind the first quote, up to the sign behind the last one, which is returned. */
static int quoted(FILE *file, struct record *record, struct strbuf *field)
{
	for (int c = getc(file); c != EOF; c = getc(file)) {
		if (c == '"') {
			c = getc(file);
			if (c != '"')
				return c;
		}
		if (field->len < ROW_BYTES_MAX)
			strbuf_addch(field, (char)c);
	}
	record->bad = true;
	return EOF;
}

/* The sign behind it. */
static int read_field(FILE *file, struct record *record)
{
	struct strbuf *field = next_field(record);
	int c = getc(file);

	if (c == '"') {
		c = quoted(file, record, field);
		if (c == '\r')
			c = getc(file);
		record->bad = record->bad || (c != ',' && c != '\n' && c != EOF);
	}
	for (; c != ',' && c != '\n' && c != EOF; c = getc(file))
		if (field->len < ROW_BYTES_MAX)
			strbuf_addch(field, (char)c);
	if (c != ',' && field->len && field->data[field->len - 1] == '\r')
		field->data[--field->len] = '\0';
	return c;
}

/* 1; 0: the file is at its end. */
static int read_record(FILE *file, struct record *record)
{
	int c = getc(file);

	if (c == EOF)
		return 0;
	ungetc(c, file);
	record->count = 0;
	record->bad = false;
	while (read_field(file, record) == ',')
		;
	return 1;
}

static void record_release(struct record *record)
{
	for (size_t i = 0; i < COLUMNS_MAX; i++)
		if (record->fields[i].data)
			strbuf_release(&record->fields[i]);
	free(record->fields);
}

static bool is_blank(const struct record *record)
{
	return record->count == 1 && !record->fields[0].len;
}

/* ---- opening */

static int read_header(struct row_source *source, struct error *err_r)
{
	struct record record = { .fields = xcalloc(COLUMNS_MAX, sizeof(*record.fields)) };
	int got = read_record(source->file, &record);

	source->columns = xcalloc(COLUMNS_MAX, sizeof(*source->columns));
	if (got && !record.bad)
		for (size_t i = 0; i < record.count; i++)
			source->columns[source->column_count++] = xstrdup(record.fields[i].data);
	record_release(&record);
	return source->column_count ? 0
				    : error_set(err_r, ERROR_INVALID, "%s has no line of names",
						source->definition->file);
}

/* Links may lead out of the folder: the real path is looked at. */
static char *real_path(const struct row_source *source, struct error *err_r)
{
	const char *folder = source->options->folder;
	char *base = folder && *folder ? realpath(folder, NULL) : NULL, *path = NULL, *name;
	size_t bytes = base ? strlen(base) : 0;

	if (!base) {
		error_set(err_r, ERROR_INVALID, "WINDLASS_BATCH_DIR is not set here, or not there");
		return NULL;
	}
	name = xmalloc(bytes + strlen(source->definition->file) + 2);
	snprintf(name, bytes + strlen(source->definition->file) + 2, "%s/%s", base,
		 source->definition->file);
	path = realpath(name, NULL);
	if (!path || strncmp(path, base, bytes) != 0 || path[bytes] != '/') {
		error_set(err_r, ERROR_NOT_FOUND, "no file %s in WINDLASS_BATCH_DIR",
			  source->definition->file);
		free(path);
		path = NULL;
	}
	free(name);
	free(base);
	return path;
}

/* Some programs begin a file with a mark that it is UTF-8. */
static void skip_mark(FILE *file)
{
	char mark[3];

	if (fread(mark, 1, sizeof(mark), file) != sizeof(mark) ||
	    memcmp(mark, "\xef\xbb\xbf", sizeof(mark)) != 0)
		rewind(file);
}

int row_file_open(struct row_source *source, struct error *err_r)
{
	char *path = real_path(source, err_r);
	struct stat st;
	int fd;

	if (!path)
		return -1;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	free(path);
	if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		if (fd >= 0)
			close(fd);
		return error_set(err_r, ERROR_NOT_FOUND, "%s cannot be read: %s",
				 source->definition->file, fd < 0 ? strerror(errno) : "not a file");
	}
	source->file = fdopen(fd, "r");
	CHECK(source->file);
	skip_mark(source->file);
	return source->definition->csv ? read_header(source, err_r) : 0;
}

void row_file_close(struct row_source *source)
{
	for (size_t i = 0; i < source->column_count; i++)
		free(source->columns[i]);
	free(source->columns);
	if (source->file)
		fclose(source->file);
}

/* ---- reading */

struct rows {
	struct row_chunk *chunk;
	struct arena *arena;
	size_t bytes;
};

static void add_row(struct rows *rows, const char *text, size_t bytes)
{
	rows->chunk->rows[rows->chunk->count++] =
		(struct json_slice){ arena_strndup(rows->arena, text, bytes), bytes };
	rows->bytes += bytes;
}

static void reject(struct rows *rows, int64_t offset, const char *why)
{
	if (!rows->chunk->rejected++)
		rows->chunk->reason =
			arena_printf(rows->arena, "at byte %" PRId64 ": %s", offset, why);
}

static void take_record(struct row_source *source, const struct record *record, int64_t offset,
			struct rows *rows)
{
	struct strbuf row;

	if (is_blank(record))
		return;
	if (record->bad || record->count != source->column_count) {
		reject(rows, offset,
		       record->bad ? "not CSV: quotes" : "not as many fields as there are names");
		return;
	}
	strbuf_init(&row);
	for (size_t i = 0; i < record->count; i++) {
		strbuf_addch(&row, i ? ',' : '{');
		strbuf_json(&row, source->columns[i]);
		strbuf_addch(&row, ':');
		strbuf_json_n(&row, record->fields[i].data, record->fields[i].len);
	}
	strbuf_addch(&row, '}');
	add_row(rows, row.data, row.len);
	strbuf_release(&row);
}

/* 1; 0: at the end. */
static int take_line(struct row_source *source, char **line, size_t *cap, int64_t offset,
		     struct rows *rows)
{
	ssize_t bytes = getline(line, cap, source->file);

	if (bytes < 0)
		return 0;
	while (bytes > 0 && strchr(" \t\r\n", (*line)[bytes - 1]))
		bytes--;
	if (!bytes)
		return 1;
	if (bytes > ROW_BYTES_MAX || !json_text_check(*line, (size_t)bytes))
		reject(rows, offset, "not JSON");
	else
		add_row(rows, *line, (size_t)bytes);
	return 1;
}

static int take_rows(struct row_source *source, size_t max, struct rows *rows)
{
	struct record record = { .fields = xcalloc(COLUMNS_MAX, sizeof(*record.fields)) };
	char *line = NULL;
	size_t cap = 0;
	int more = 1;

	while (more && rows->chunk->count < max && rows->bytes < BATCH_CHUNK_BYTES) {
		int64_t offset = ftello(source->file);

		if (!source->definition->csv) {
			more = take_line(source, &line, &cap, offset, rows);
			continue;
		}
		more = read_record(source->file, &record);
		if (more)
			take_record(source, &record, offset, rows);
	}
	free(line);
	record_release(&record);
	return more;
}

int row_file_read(struct row_source *source, const char *position, size_t max, struct arena *arena,
		  struct row_chunk *chunk_r, struct error *err_r)
{
	struct rows rows = { .chunk = chunk_r, .arena = arena };

	*chunk_r = (struct row_chunk){ .rows = ARENA_ARRAY(arena, struct json_slice, max) };
	if (position && fseeko(source->file, (off_t)strtoll(position, NULL, 10), SEEK_SET) != 0)
		return error_set(err_r, ERROR_INVALID, "%s: %s", source->definition->file,
				 strerror(errno));
	chunk_r->last = !take_rows(source, max, &rows);
	if (ferror(source->file))
		return error_set(err_r, ERROR_INVALID, "%s: cannot be read",
				 source->definition->file);
	chunk_r->position = arena_printf(arena, "%" PRId64, (int64_t)ftello(source->file));
	return 0;
}
