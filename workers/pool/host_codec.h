/* SPDX-License-Identifier: Apache-2.0 */
/* The host protocol (docs/PROTOCOL.md), the engine's side: lines for hosts by concatenation, lines
 * of hosts into tasks' arenas. Pure functions; what a host sends is hostile until it has passed
 * through here. */
#ifndef WORKERS_POOL_HOST_CODEC_H
#define WORKERS_POOL_HOST_CODEC_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/strbuf.h"
#include "common/base/uuid.h"
#include "common/json/json_text.h"
#include "workers/pool/task.h"

/* ---- to the host; each appends to `out` */
void host_codec_hello(struct strbuf *out, const char *const *types,
		      int64_t result_bytes_max);                  /* a whole line */
void host_codec_job(struct strbuf *out, const struct task *task); /* an object, no line end */
void host_codec_cancel(struct strbuf *out, const struct uuid *job,
		       enum task_cancel why); /* a whole line */
void host_codec_answer(struct strbuf *out, const struct uuid *job, int64_t number,
		       const char *members, size_t bytes);

/* ---- from the host */
enum host_line_kind {
	HOST_LINE_READY = 1, /* concurrency */
	HOST_LINE_UNREADY,   /* reason: it cannot work at all */
	HOST_LINE_STARTED,
	HOST_LINE_PROGRESS,
	HOST_LINE_ASK,
	HOST_LINE_END, /* ends an attempt */
};

#define HOST_FAULT_BYTES 160
#define HOST_ARGS_MAX    1000 /* of a statement */

struct host_line {
	enum host_line_kind kind;
	struct uuid job;               /* nil for READY and UNREADY */
	struct json_slice text;        /* the line, borrowed */
	json_t *root;                  /* owned until host_line_release; NULL: a plain line */
	struct json_slice done, write; /* of a plain line */
	int concurrency;
	const char *reason;           /* UNREADY; lives in root */
	char fault[HOST_FAULT_BYTES]; /* when parsing failed: what is wrong, in words */
};

/* Strict parsing and classification of a line that starts with '{'. 0, or -1 with line_r->fault
 * (nothing to release). */
int host_line_parse(const char *text, size_t bytes, struct host_line *line_r) must_check;
void host_line_release(struct host_line *line);

struct host_limits {
	int64_t payload_bytes_max, result_bytes_max;
};

/* The three below copy what they find into the task's arena and return -1 with line->fault set when
 * the line breaks the protocol. What is well formed but too large or refused (a follow-up of an
 * unknown type) is not a breach: it becomes OUTCOME_RETRY with the reason, or *refused_r. */
int host_line_outcome(struct host_line *line, const struct task *task,
		      const struct host_limits *limits, struct task_outcome *outcome_r) must_check;
int host_line_ask(struct host_line *line, struct task *task, const struct host_limits *limits,
		  struct task_ask *ask_r, const char **refused_r) must_check;
int host_line_progress(struct host_line *line, double *part_r,
		       const char **note_r) must_check; /* note lives in the line */

/* ---- used by the parts of the codec */
/* host_plain.c, for text that json_text_check has taken. False: the line is no plain one. */
bool host_plain_line(struct host_line *line);
/* The statements of a plain line into the arena, and what they hold. False: they are not plain. */
bool host_plain_writes(const struct host_line *line, struct arena *arena,
		       struct write_set *writes_r, size_t *bytes_r);
/* Makes the tree of a plain line, because it is not so plain after all. 0, or -1 with line->fault.
 */
int host_line_grow(struct host_line *line) must_check;
/* "write", "lock", "enqueue" of a line into the arena. 0; 1: refused, *reason_r says why; -1:
 * line->fault. */
int host_write_set_read(struct host_line *line, const struct task *task,
			const struct host_limits *limits, struct write_set *writes_r,
			const char **reason_r) must_check;
/* One statement's "sql" and "args". 0, or -1 with line->fault. *bytes grows by what it holds. */
int host_statement_read(struct host_line *line, const json_t *sql, const json_t *args,
			struct arena *arena, struct sql_statement *statement_r,
			size_t *bytes) must_check;
int host_line_fault(struct host_line *line, const char *fmt, ...)
	printf_like(2, 3); /* returns -1 */

#endif
