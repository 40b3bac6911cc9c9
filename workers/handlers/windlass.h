/* SPDX-License-Identifier: Apache-2.0 */
/* windlass.h - write a job handler. Plain C11. Link with nothing: `windlass host` provides the functions.
 * Handlers may block; one job (or one batch) runs at a time in a process. Everything a wl_ function returns lives until the
 * handler returns. Where it says "ends", a call that cannot succeed (bad SQL, store away) ends the attempt: the host reports
 * `retry` with the reason (`again` for an unmet row count in wl_step), exits and is replaced; no error to check, nothing to
 * clean up, no strike. JSON pointers are RFC 6901 without the first slash. */
#ifndef WINDLASS_H
#define WINDLASS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
struct wl_job;
enum wl_outcome { WL_DONE = 1, WL_RETRY, WL_DISCARD, WL_SNOOZE, WL_CANCELLED };   /* made by the functions at the end */

/* ---- what came in (already valid against the type's schema) */
const char *wl_id(struct wl_job *);                        /* the same on every attempt */
int wl_attempt(struct wl_job *);                           /* 1, 2, ... */
const char *wl_payload(struct wl_job *, size_t *bytes_r);  /* as sent; NULL allowed for bytes_r */
const char *wl_str(struct wl_job *, const char *pointer, const char *fallback);
int64_t wl_int(struct wl_job *, const char *pointer, int64_t fallback);
double wl_num(struct wl_job *, const char *pointer, double fallback);
size_t wl_len(struct wl_job *, const char *pointer);       /* elements of an array, 0 when there is none */
const char *wl_at(struct wl_job *, const char *fmt, ...);  /* "lines/%zu/sku": builds a pointer in the job's arena */
const char *wl_new_id(struct wl_job *, const char *name);  /* UUID from (job, name): the same on every attempt */
bool wl_cancelled(struct wl_job *);                        /* poll in long loops; true also at timeout and drain */
void wl_progress(struct wl_job *, double part, const char *note);

/* ---- SQL values: wl_write(job, 1, "... $1 ... $2", WL(wl_text(sku), wl_i64(n))). $n is the n-th value on both stores (SQLite
 * numbers $-names by first appearance: bind through sqlite3_bind_parameter_index, or rewrite to ?n). */
struct wl_value { int kind; int64_t i; double d; const void *p; size_t bytes; };
struct wl_value wl_text(const char *), wl_i64(int64_t), wl_f64(double), wl_bool(bool), wl_blob(const void *, size_t), wl_null(void);
struct wl_args { size_t count; const struct wl_value *value; };
#define WL(...) ((struct wl_args){ sizeof((struct wl_value[]){ __VA_ARGS__ }) / sizeof(struct wl_value), \
                                   (struct wl_value[]){ __VA_ARGS__ } })
#define WL_NONE ((struct wl_args){ 0, NULL })

/* ---- reading now, read only, outside the write transaction (ends on error) */
struct wl_rows *wl_query(struct wl_job *, const char *sql, struct wl_args);
bool wl_next(struct wl_rows *);                            /* false after the last row */
const char *wl_col_str(struct wl_rows *, int column);      /* NULL for SQL NULL */
int64_t wl_col_int(struct wl_rows *, int column);
double wl_col_num(struct wl_rows *, int column);

/* ---- writing: staged, committed once together with the outcome WL_DONE; dropped with any other outcome.
 * rows: how many it must touch, WL_ANY for no check. Unmet: nothing is committed and the handler runs again. */
#define WL_ANY (-1)
void wl_write(struct wl_job *, int rows, const char *sql, struct wl_args);
void wl_lock(struct wl_job *, const char *key);            /* rows this job fights for, e.g. "product:17": taken in sorted order */
const char *wl_enqueue(struct wl_job *, const char *type, const char *payload_json, const char *options_json); /* staged; its id */
const char *wl_stepped(struct wl_job *, const char *step); /* value of a step that an earlier attempt committed, else NULL */
const char *wl_step(struct wl_job *, const char *step, const char *value_json_fmt, ...); /* commit what is staged now, once for
                                                            * all attempts, with a value; returns it; blocks ~ one commit */
/* ---- third parties: at most one success per (job, step); the idempotency key is derived from both and sent.
 * body_bytes 0 with body set: a NUL-terminated string. error: never NULL; text for NOT_SENT, UNKNOWN and status >= 400, else "". */
struct wl_request { const char *method, *url; const char *const *headers; const char *body; size_t body_bytes; int timeout_ms; };
enum wl_fate { WL_ANSWERED = 1, WL_NOT_SENT, WL_UNKNOWN }; /* UNKNOWN: sent, no answer */
struct wl_reply { enum wl_fate fate; int status; const char *body; size_t body_bytes; const char *error; };
struct wl_reply wl_call(struct wl_job *, const char *step, const struct wl_request *);  /* a 2xx, or a 4xx that no
 * retry would change, is stored and returned on every later attempt; 408, 425, 429, 5xx, NOT_SENT and UNKNOWN are not stored:
 * the next attempt calls again with the same key */
const char *wl_json_str(struct wl_job *, const char *json, const char *pointer, const char *fallback);   /* look into a reply */
int64_t wl_json_int(struct wl_job *, const char *json, const char *pointer, int64_t fallback);            /* the same, or into a step's value */

/* ---- the outcome: `return wl_done(job, ...)`. Formats are printf's; reasons are shown to people. */
enum wl_outcome wl_done(struct wl_job *, const char *result_json_fmt, ...);   /* NULL: no result */
enum wl_outcome wl_retry(struct wl_job *, int after_s, const char *why_fmt, ...);  /* after_s < 0: the type's backoff */
enum wl_outcome wl_discard(struct wl_job *, const char *why_fmt, ...);        /* dead letter, no more attempts */
enum wl_outcome wl_snooze(struct wl_job *, int after_s);                      /* later, not an attempt */
enum wl_outcome wl_cancel(struct wl_job *);                                   /* stopped because wl_cancelled() */
const char *wl_quote(struct wl_job *, const char *text);                      /* JSON string with quotes, for result_json_fmt */

/* ---- what a module exports */
struct wl_handler {
	const char *type;
	enum wl_outcome (*run)(struct wl_job *);
	void (*run_batch)(struct wl_job *const *jobs, size_t count, enum wl_outcome *outcomes_r); /* for types with batch: N, else NULL */
};
struct wl_module { uint32_t abi; uint32_t bytes; const struct wl_handler *handlers; int (*init)(void); void (*exit)(void); };
#define WL_ABI 1u
#define WL_MODULE(...) extern const struct wl_module windlass_module; const struct wl_module windlass_module = \
	{ WL_ABI, sizeof(struct wl_module), (const struct wl_handler[]){ __VA_ARGS__, { 0, 0, 0 } }, 0, 0 };
#endif
