/* SPDX-License-Identifier: Apache-2.0 */
/* The write set of a line: statements with their values, locks and follow-up jobs, copied into the
 * job's arena. The limits of sql_value.h are kept here, so that nothing behind this file meets a
 * larger one. */
#include <string.h>

#include "common/base/clock.h"
#include "common/base/digest.h"
#include "common/config/job_request.h"
#include "workers/pool/host_codec.h"

#define LOCKS_MAX      1000
#define FOLLOW_UPS_MAX 1000

struct reading { /* one write set on its way in */
	struct host_line *line;
	const struct task *task;
	struct arena *arena;
	const struct host_limits *limits;
	size_t bytes; /* so far */
};

static void read_text(const json_t *value, struct arena *arena, struct sql_value *value_r)
{
	value_r->kind = SQL_TEXT;
	value_r->bytes = json_string_length(value);
	value_r->data = arena_strndup(arena, json_string_value(value), value_r->bytes);
}

static int read_blob(struct host_line *line, const json_t *value, struct arena *arena,
		     struct sql_value *value_r)
{
	const json_t *base64 = json_object_get(value, "base64");
	void *data;

	if (!json_is_string(base64) ||
	    base64_decode(arena, json_string_value(base64), json_string_length(base64), &data,
			  &value_r->bytes) < 0)
		return host_line_fault(
			line, "an argument is neither a plain value nor {\"base64\":\"…\"}");
	value_r->kind = SQL_BLOB;
	value_r->data = data;
	return 0;
}

static int read_value(struct host_line *line, const json_t *value, struct arena *arena,
		      struct sql_value *value_r)
{
	switch (json_typeof(value)) {
	case JSON_STRING:
		read_text(value, arena, value_r);
		return 0;
	case JSON_INTEGER:
		*value_r = (struct sql_value){ .kind = SQL_INT, .i = json_integer_value(value) };
		return 0;
	case JSON_REAL:
		*value_r = (struct sql_value){ .kind = SQL_FLOAT, .d = json_real_value(value) };
		return 0;
	case JSON_TRUE:
	case JSON_FALSE:
		*value_r = (struct sql_value){ .kind = SQL_BOOL, .i = json_is_true(value) };
		return 0;
	case JSON_NULL:
		*value_r = (struct sql_value){ .kind = SQL_NULL };
		return 0;
	default:
		return read_blob(line, value, arena, value_r);
	}
}

int host_statement_read(struct host_line *line, const json_t *sql, const json_t *args,
			struct arena *arena, struct sql_statement *statement_r, size_t *bytes)
{
	size_t count = json_array_size(args);
	struct sql_value *values;

	if (!json_is_string(sql) || json_string_length(sql) == 0)
		return host_line_fault(line, "a statement without SQL text");
	if ((args && !json_is_array(args)) || count > HOST_ARGS_MAX)
		return host_line_fault(line, "\"args\" is not an array of at most %d values",
				       HOST_ARGS_MAX);
	values = ARENA_ARRAY(arena, struct sql_value, count);
	for (size_t i = 0; i < count; i++) {
		if (read_value(line, json_array_get(args, i), arena, &values[i]) < 0)
			return -1;
		*bytes += values[i].bytes + sizeof(int64_t);
	}
	*bytes += json_string_length(sql);
	*statement_r = (struct sql_statement){ .sql = arena_strdup(arena, json_string_value(sql)),
					       .args = values,
					       .arg_count = count,
					       .rows = SQL_ROWS_ANY };
	return 0;
}

static int read_statement(struct reading *reading, const json_t *object,
			  struct sql_statement *statement_r)
{
	const json_t *rows = json_object_get(object, "rows");

	if (host_statement_read(reading->line, json_object_get(object, "sql"),
				json_object_get(object, "args"), reading->arena, statement_r,
				&reading->bytes) < 0)
		return -1;
	if (!rows || json_is_null(rows))
		return 0;
	if (!json_is_integer(rows) || json_integer_value(rows) < SQL_ROWS_ANY)
		return host_line_fault(reading->line, "\"rows\" is not a number of rows");
	statement_r->rows = json_integer_value(rows);
	return 0;
}

/* An absent member is an empty array. NULL and the fault when it is something else. */
static const json_t *array_of(struct reading *reading, const char *key, size_t *count_r)
{
	const json_t *array = json_object_get(reading->line->root, key);

	*count_r = json_array_size(array);
	if (array && !json_is_array(array))
		host_line_fault(reading->line, "\"%s\" is not an array", key);
	return array;
}

static int read_statements(struct reading *reading, const json_t *array, size_t count,
			   struct write_set *writes_r)
{
	struct sql_statement *statements = ARENA_ARRAY(reading->arena, struct sql_statement, count);

	for (size_t i = 0; i < count; i++) {
		if (read_statement(reading, json_array_get(array, i), &statements[i]) < 0)
			return -1;
	}
	writes_r->statements = statements;
	writes_r->statement_count = count;
	return 0;
}

static int read_locks(struct reading *reading, const json_t *array, size_t count,
		      struct write_set *writes_r)
{
	const char **locks = ARENA_ARRAY(reading->arena, const char *, count);

	for (size_t i = 0; i < count; i++) {
		const json_t *lock = json_array_get(array, i);

		if (!json_is_string(lock) || json_string_length(lock) == 0 ||
		    json_string_length(lock) > JOB_KEY_MAX)
			return host_line_fault(reading->line,
					       "a lock is not a string of 1 to %d bytes",
					       JOB_KEY_MAX);
		locks[i] = arena_strdup(reading->arena, json_string_value(lock));
	}
	writes_r->locks = locks;
	writes_r->lock_count = count;
	return 0;
}

/* Slices of the line are borrowed from a buffer that moves on; the job needs its own. */
static struct json_slice keep(struct reading *reading, struct json_slice slice)
{
	if (slice.bytes > 0)
		slice.text = arena_strndup(reading->arena, slice.text, slice.bytes);
	reading->bytes += slice.bytes;
	return slice;
}

static int read_follow_up(struct reading *reading, struct json_slice object, const json_t *parsed,
			  struct new_job *job_r, const char **reason_r)
{
	const struct claimed_job *job = reading->task->job;
	struct job_request_context context = { .defs = reading->task->defs,
					       .tenant = job->tenant,
					       .payload_bytes_max =
						       (size_t)reading->limits->payload_bytes_max,
					       .now_ms = clock_wall_ms() };
	const json_t *id = json_object_get(parsed, "id"), *type = json_object_get(parsed, "type");
	struct uuid uuid = { { 0 } };
	struct job_request_error error;
	char owner[UUID_TEXT];

	if (!json_is_string(type) ||
	    (id && !(json_is_string(id) && uuid_parse(json_string_value(id), &uuid))))
		return host_line_fault(
			reading->line,
			"a follow-up job without \"type\", or its \"id\" is not one");
	context.owner = arena_printf(reading->arena, "job:%s", uuid_format(&job->id, owner));
	if (job_request_follow_up(&context, &uuid,
				  arena_strdup(reading->arena, json_string_value(type)),
				  keep(reading, json_slice_get(object, "payload")),
				  keep(reading, json_slice_get(object, "options")), reading->arena,
				  job_r, &error) == 0)
		return 0;
	*reason_r = arena_printf(reading->arena, "follow-up job %s refused: %s",
				 json_string_value(type),
				 job_request_reason(&error, "", reading->arena));
	return 1;
}

static int read_follow_ups(struct reading *reading, const json_t *array, size_t count,
			   struct write_set *writes_r, const char **reason_r)
{
	struct json_slice text = json_slice_get(reading->line->text, "enqueue"), element;
	const char *cursor = NULL;
	int got;

	writes_r->follow_ups = ARENA_ARRAY(reading->arena, struct new_job, count);
	for (size_t i = 0; i < count; i++) {
		if (json_slice_element(text, &cursor, &element) != 1)
			return host_line_fault(reading->line,
					       "\"enqueue\" is written with escapes");
		got = read_follow_up(reading, element, json_array_get(array, i),
				     &writes_r->follow_ups[i], reason_r);
		if (got != 0)
			return got;
	}
	writes_r->follow_up_count = count;
	return 0;
}

static int read_tree(struct reading *reading, struct write_set *writes_r, const char **reason_r)
{
	size_t writes, locks, follow_ups;
	const json_t *write_array = array_of(reading, "write", &writes),
		     *lock_array = array_of(reading, "lock", &locks),
		     *enqueue_array = array_of(reading, "enqueue", &follow_ups);

	if (reading->line->fault[0])
		return -1;
	if (writes > WRITE_SET_STATEMENTS_MAX || locks > LOCKS_MAX || follow_ups > FOLLOW_UPS_MAX) {
		*reason_r = "its write set has more than 1000 statements, locks or follow-up jobs";
		return 1;
	}
	if (writes && read_statements(reading, write_array, writes, writes_r) < 0)
		return -1;
	if (locks && read_locks(reading, lock_array, locks, writes_r) < 0)
		return -1;
	return follow_ups ? read_follow_ups(reading, enqueue_array, follow_ups, writes_r, reason_r)
			  : 0;
}

int host_write_set_read(struct host_line *line, const struct task *task,
			const struct host_limits *limits, struct write_set *writes_r,
			const char **reason_r)
{
	struct reading reading = {
		.line = line, .task = task, .arena = task->job->arena, .limits = limits
	};
	int got = 0;

	*reason_r = NULL;
	if (line->root || !host_plain_writes(line, reading.arena, writes_r, &reading.bytes)) {
		if (!line->root && host_line_grow(line) < 0)
			return -1;
		*writes_r = (struct write_set){ 0 };
		reading.bytes = 0;
		got = read_tree(&reading, writes_r, reason_r);
	}
	if (got == 0 && reading.bytes > WRITE_SET_BYTES_MAX) {
		*reason_r = "its write set is larger than 1 MiB";
		return 1;
	}
	return got;
}
