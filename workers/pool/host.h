/* SPDX-License-Identifier: Apache-2.0 */
/* A host: one handler process, its pipes and its cell. Moves bytes and lines and says when the
 * process is gone; knows nothing of tasks' fates (pool_*.c) and little of groups. Loop thread only.
 */
#ifndef WORKERS_POOL_HOST_H
#define WORKERS_POOL_HOST_H
#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/list.h"
#include "common/base/strbuf.h"
#include "workers/handlers/host_cell.h"
#include "workers/pool/host_output.h"
#include "workers/pool/loop.h"
#include "workers/pool/scratch.h"
#include "workers/supervisor/process.h"

#define HOST_READ_BYTES  (256 * 1024) /* at most, a turn: other hosts want to be heard too */
#define HOST_AHEAD_BYTES (256 * 1024) /* unwritten bytes beyond which no further job is sent */

struct host_group;
struct pool;

enum host_state {
	HOST_UP = 1,
	HOST_LEAVING, /* gets no more jobs; its input is closed when the last one has ended */
	HOST_DYING,   /* was killed, or closed its output; waits to be reaped */
};

/* why it is dying, as far as it was our doing */
enum host_end {
	HOST_END_ITSELF = 0,
	HOST_END_TIMEOUT,
	HOST_END_FAULT, /* it broke the protocol: see fault */
	HOST_END_ABORT,
};

struct host {
	struct list link; /* the group's hosts */
	struct pool *pool;
	struct host_group *group;
	struct loop *loop;
	struct process process;
	struct scratch *scratch; /* where its folder is; NULL: it has none */
	enum host_state state;
	enum host_end end;
	int in_fd, out_fd, error_fd; /* ours; -1: closed */
	struct loop_watch *in_watch, *out_watch, *error_watch, *process_watch;
	struct loop_timer *timer; /* of its jobs' time-outs, then of its killing */
	int64_t timer_ns;         /* when the timer is due; 0: not armed */
	struct strbuf out, in;
	size_t out_at;    /* of out: written */
	uint64_t written; /* bytes, since its start */
	size_t line_bytes_max;
	struct host_output output, errors; /* what it prints, for the log */
	struct host_cell *cell;            /* module hosts; else NULL */
	uint64_t lines_sent;               /* job lines; a batch is one */
	struct list in_hand;               /* tasks sent and not ended, in the order of sending */
	size_t in_hand_count;
	int64_t ahead_ns; /* what they will take, by the average of their types */
	bool batch;       /* what is in hand is one batch line */
	bool solo;        /* what is in hand runs alone on suspicion */
	bool slow;        /* its job runs for long: nothing is put behind it */
	bool refused;     /* it said that it cannot work; fault is the reason */
	bool ready;       /* it said so, or has answered something */
	int concurrency;  /* as declared; 1 until then */
	int64_t started_ns, idle_since_ns;
	int64_t kill_ns; /* SIGKILL follows then; 0: no */
	char fault[200];
};

struct host_launch {         /* what to start; all borrowed during the call */
	const char *program; /* what is executed */
	const char *const *argv, *const *env;
	const char *directory;
	struct scratch *scratch; /* or NULL */
	bool with_cell;
	size_t line_bytes_max;
	const char *hello; /* first line, with its line end */
};

/* Starts the process and watches it. NULL with *err_r when it cannot be started. */
struct host *host_new(struct pool *pool, struct host_group *group, struct loop *loop,
		      const struct host_launch *launch, struct error *err_r);
/* Closes, kills what still runs (and its process group) and frees. */
void host_free(struct host **host);
/* Writes what is in host->out as far as the pipe takes it; the rest follows by itself. */
void host_flush(struct host *host);
size_t host_unwritten(const struct host *host);
/* Where in its input the next line begins, and up to where it has read. */
uint64_t host_input_end(const struct host *host);
uint64_t host_input_read(const struct host *host);
/* No more jobs, a clean end when it has nothing to do: EOF on its input. */
void host_close_input(struct host *host);
void host_signal(struct host *host, int signal);
/* It is to die now; host->end is set to `end` unless it was set before. */
void host_kill(struct host *host, enum host_end end);
/* Arms the timer unless it is due before that anyway. */
void host_wake_at(struct host *host, int64_t due_ns);

/* ---- called by host.c, implemented by the pool */
void pool_line(struct host *host, const char *line,
	       size_t bytes); /* one that starts with '{', without its end */
void pool_host_due(struct host *host);
void pool_host_deaf(
	struct host *host); /* the other end of its input is closed; its process may still run */
void pool_host_gone(struct host *host, int status, int64_t peak_bytes); /* reaped; frees the host */

#endif
