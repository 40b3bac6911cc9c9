/* SPDX-License-Identifier: Apache-2.0 */
/* windlass.h - write a job handler. Plain C11. Link with nothing: `windlass host` provides the
 * functions.
 *
 * Handlers may block; one job (or one batch) runs at a time in a process, and static variables live
 * as long as the process does. Everything a wl_ function returns lives until the handler returns.
 * Call them from the handler's own thread only.
 *
 * Where it says "ends", a call that cannot succeed (bad SQL, store away, text that is not JSON)
 * ends the attempt: the host reports `retry` with the reason (`again` for an unmet row count in
 * wl_step), exits and is replaced; no error to check, nothing to clean up, no strike. A handler
 * that crashes, hangs or runs out of memory costs its own job a strike and no other job anything.
 *
 * What a handler prints (stdout and stderr) goes to Windlass's log. JSON pointers are RFC 6901
 * without the first slash. */
#ifndef WINDLASS_H
#define WINDLASS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#define WL_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define WL_PRINTF(fmt, args)
#endif

struct wl_job;
/* Made by the functions at the end. */
enum wl_outcome { WL_DONE = 1, WL_RETRY, WL_DISCARD, WL_SNOOZE, WL_CANCELLED };

/* ---- what came in (already valid against the type's schema) */
/* The same on every attempt. */
const char *wl_id(struct wl_job *);
/* 1, 2, ... */
int wl_attempt(struct wl_job *);
/* As it was sent; NULL allowed for bytes_r. */
const char *wl_payload(struct wl_job *, size_t *bytes_r);
/* Look into the payload; the fallback when there is nothing there, or something of another kind. */
const char *wl_str(struct wl_job *, const char *pointer, const char *fallback);
int64_t wl_int(struct wl_job *, const char *pointer, int64_t fallback);
double wl_num(struct wl_job *, const char *pointer, double fallback);
/* Elements of an array, 0 when there is none. */
size_t wl_len(struct wl_job *, const char *pointer);
/* "lines/%zu/sku": builds a pointer, or any text. */
const char *wl_at(struct wl_job *, const char *fmt, ...) WL_PRINTF(2, 3);
/* UUID from (job, name): the same on every attempt. */
const char *wl_new_id(struct wl_job *, const char *name);
/* Poll it in long loops; true also at the time-out and when the worker stops. */
bool wl_cancelled(struct wl_job *);
/* 0..1 and what is being done, or NULL; at most ten a second are passed on. */
void wl_progress(struct wl_job *, double part, const char *note);

/* ---- SQL values: wl_write(job, 1, "... $1 ... $2", WL(wl_text(sku), wl_i64(n))). $n is the n-th
 * value on every store. wl_text(NULL) is SQL NULL. */
struct wl_value {
	int kind; /* made by the functions below */
	int64_t i;
	double d;
	const void *p;
	size_t bytes;
};
struct wl_value wl_text(const char *);
struct wl_value wl_i64(int64_t);
struct wl_value wl_f64(double);
struct wl_value wl_bool(bool);
struct wl_value wl_blob(const void *, size_t);
struct wl_value wl_null(void);
struct wl_args {
	size_t count;
	const struct wl_value *value;
};
#define WL(...)                                                                                  \
	((struct wl_args){ sizeof((struct wl_value[]){ __VA_ARGS__ }) / sizeof(struct wl_value), \
			   (struct wl_value[]){ __VA_ARGS__ } })
#define WL_NONE ((struct wl_args){ 0, NULL })

/* ---- reading now, read only, outside the write transaction (ends on error). Columns count from 0;
 * wl_col_str is NULL for SQL NULL and gives numbers and blobs as text, the others give 0 for NULL.
 */
struct wl_rows *wl_query(struct wl_job *, const char *sql, struct wl_args);
/* To the first row, then to the next; false after the last one. */
bool wl_next(struct wl_rows *);
const char *wl_col_str(struct wl_rows *, int column);
int64_t wl_col_int(struct wl_rows *, int column);
double wl_col_num(struct wl_rows *, int column);

/* ---- writing: staged, committed once together with the outcome WL_DONE; dropped with any other
 * outcome. At most 1,000 statements and 1 MiB. rows: how many it must touch, WL_ANY for no check.
 * Unmet: nothing is committed and the handler runs again. */
#define WL_ANY (-1)
void wl_write(struct wl_job *, int rows, const char *sql, struct wl_args);
/* Rows this job fights for, e.g. "product:17": taken in sorted order. */
void wl_lock(struct wl_job *, const char *key);
/* A follow-up job, staged as well; returns its id. options: JSON object of queue, priority, delay,
 * tags, ...; or NULL. Ends when one is not JSON. */
const char *wl_enqueue(struct wl_job *, const char *type, const char *payload_json,
		       const char *options_json);
/* The JSON value of a committed step, else NULL. */
const char *wl_stepped(struct wl_job *, const char *step);
/* Commits what is staged now, once for all attempts, under a name and with a JSON value, and
 * returns the value; blocks for about one commit. A step that was committed before returns its
 * value and drops what is staged. Ends. */
const char *wl_step(struct wl_job *, const char *step, const char *value_json_fmt, ...)
	WL_PRINTF(3, 4);

/* ---- third parties: at most one success per (job, step); the idempotency key is derived from both
 * and sent. body_bytes 0 with body set: a NUL-terminated string. headers: "Name: value",
 * NULL-terminated, or NULL. timeout_ms 0: 30 s. error: never NULL; text for NOT_SENT, UNKNOWN and
 * status >= 400, else "". A 2xx, or a 4xx that no retry would change, is stored and returned on
 * every later attempt; 408, 425, 429, 5xx, NOT_SENT and UNKNOWN are not: the next attempt calls
 * again with the same key. */
struct wl_request {
	const char *method, *url;
	const char *const *headers;
	const char *body;
	size_t body_bytes;
	int timeout_ms;
};
enum wl_fate { WL_ANSWERED = 1, WL_NOT_SENT, WL_UNKNOWN }; /* UNKNOWN: sent, no answer */
struct wl_reply {
	enum wl_fate fate;
	int status;
	const char *body; /* NUL-terminated, never NULL */
	size_t body_bytes;
	const char *error;
};
struct wl_reply wl_call(struct wl_job *, const char *step, const struct wl_request *);
/* Look into a reply, or into the value of a step. */
const char *wl_json_str(struct wl_job *, const char *json, const char *pointer,
			const char *fallback);
int64_t wl_json_int(struct wl_job *, const char *json, const char *pointer, int64_t fallback);

/* ---- the outcome: `return wl_done(job, ...)`. Formats are printf's; reasons are shown to people.
 */
/* NULL: no result. */
enum wl_outcome wl_done(struct wl_job *, const char *result_json_fmt, ...) WL_PRINTF(2, 3);
/* after_s < 0: the type's backoff. */
enum wl_outcome wl_retry(struct wl_job *, int after_s, const char *why_fmt, ...) WL_PRINTF(3, 4);
/* Dead letter, no more attempts. */
enum wl_outcome wl_discard(struct wl_job *, const char *why_fmt, ...) WL_PRINTF(2, 3);
/* Later, and not an attempt. */
enum wl_outcome wl_snooze(struct wl_job *, int after_s);
/* Stopped because of wl_cancelled(). */
enum wl_outcome wl_cancel(struct wl_job *);
/* A JSON string with its quotes, for result_json_fmt. */
const char *wl_quote(struct wl_job *, const char *text);

/* ---- what a module exports. init: called once before the first job, not 0 refuses to work; exit:
 * called at a clean end. */
struct wl_handler {
	const char *type;
	enum wl_outcome (*run)(struct wl_job *);
	/* For types with batch: N, else NULL: fills in one outcome a job. */
	void (*run_batch)(struct wl_job *const *jobs, size_t count, enum wl_outcome *outcomes_r);
};
struct wl_module {
	uint32_t abi;
	uint32_t bytes;
	const struct wl_handler *handlers; /* ended by one without a type */
	int (*init)(void);
	void (*exit)(void);
};
#define WL_ABI 1u
#define WL_MODULE(...)                                                        \
	extern const struct wl_module windlass_module;                        \
	const struct wl_module windlass_module = {                            \
		WL_ABI, sizeof(struct wl_module),                             \
		(const struct wl_handler[]){ __VA_ARGS__, { 0, 0, 0 } }, 0, 0 \
	};

#ifdef __cplusplus
}
#endif
#endif
