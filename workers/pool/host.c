/* SPDX-License-Identifier: Apache-2.0 */
/* Handler processes: their start, their pipes (ours non-blocking, theirs not), their end. A host
 * that does not read fills its pipe and then our buffer, which is bounded by what the pool puts
 * there; it never makes the loop wait. */
#include "workers/pool/host.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "workers/pool/host_group.h"

/* 64 of them per user stay under the kernel's soft limit (pipe-user-pages-soft) with room for
 * others. */
#define PIPE_BYTES (256 * 1024)
#define DYING_MS   100 /* between the end of its output and SIGKILL */

/* ---- start */
struct ends { /* the child's ends and the cell, until it is started */
	int in, out, error, cell;
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* fds[0] is read from, fds[1] written to; `ours` is the end that must not block. */
static int open_pipe(int fds[2], int ours)
{
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -1;
	(void)fcntl(fds[0], F_SETPIPE_SZ, PIPE_BYTES); /* a wish */
	return fcntl(fds[ours], F_SETFL, O_NONBLOCK);
}

static int open_pipes(struct host *host, struct ends *ends)
{
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, error[2] = { -1, -1 }, result;

	result = open_pipe(in, 1) < 0 || open_pipe(out, 0) < 0 || open_pipe(error, 0) < 0 ? -1 : 0;
	host->in_fd = in[1];
	host->out_fd = out[0];
	host->error_fd = error[0];
	*ends = (struct ends){ .in = in[0], .out = out[1], .error = error[1], .cell = -1 };
	return result;
}

static int open_cell(struct host *host, struct ends *ends)
{
	void *cell;

	ends->cell = memfd_create("windlass-cell", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (ends->cell < 0 || ftruncate(ends->cell, sizeof(struct host_cell)) < 0)
		return -1;
	/* A host must not be able to shrink what we have mapped. */
	if (fcntl(ends->cell, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -1;
	cell = mmap(NULL, sizeof(struct host_cell), PROT_READ | PROT_WRITE, MAP_SHARED, ends->cell,
		    0);
	if (cell == MAP_FAILED)
		return -1;
	host->cell = cell;
	return 0;
}

static int spawn(struct host *host, const struct host_launch *launch, const struct ends *ends,
		 struct error *err_r)
{
	struct process_fd fds[] = {
		{ ends->in, 0 }, { ends->out, 1 }, { ends->error, 2 }, { ends->cell, HOST_CELL_FD }
	};
	struct process_spec spec = { .program = launch->program,
				     .argv = launch->argv,
				     .env = launch->env,
				     .directory = launch->directory,
				     .fds = fds,
				     .fd_count = launch->with_cell ? 4 : 3,
				     .own_group = true };

	return process_spawn(&spec, &host->process, err_r);
}

static void on_in(void *ctx, uint32_t events)
{
	struct host *host = ctx;

	/* The reading end is closed: the watch would report that for ever, and there is nobody left
	 * to write to. */
	if (!(events & (EPOLLERR | EPOLLHUP))) {
		host_flush(host);
		return;
	}
	loop_remove(host->loop, &host->in_watch);
	pool_host_deaf(host);
}

static void drop_out(struct host *host)
{
	loop_remove(host->loop, &host->out_watch);
	close_fd(&host->out_fd);
}

/* Its output is closed: it is about to exit, and if it is not it is made to. */
static void out_ended(struct host *host)
{
	drop_out(host);
	if (host->state == HOST_DYING)
		return;
	host->state = HOST_DYING;
	host_wake_at(host, clock_mono_ns() + DYING_MS * INT64_C(1000000));
}

static void host_read(struct host *host);

static void on_out(void *ctx, uint32_t events)
{
	(void)events;
	host_read(ctx);
}

static void on_error(void *ctx, uint32_t events)
{
	struct host *host = ctx;
	char text[4096];
	ssize_t n = read(host->error_fd, text, sizeof(text));

	(void)events;
	if (n > 0) {
		host_output_add(&host->errors, text, (size_t)n);
	} else if (n == 0) {
		loop_remove(host->loop, &host->error_watch);
		close_fd(&host->error_fd);
	}
}

static void on_due(void *ctx)
{
	struct host *host = ctx;

	host->timer_ns = 0;
	if (host->state == HOST_DYING && host->end == HOST_END_ITSELF)
		host_signal(host, SIGKILL);
	else
		pool_host_due(host);
}

static void read_rest(struct host *host)
{
	/* As much as the pipes can hold and no more: a grandchild may go on writing. */
	for (int turn = 0; turn < 8 && host->out_fd >= 0 && host->end != HOST_END_FAULT; turn++)
		host_read(host);
	for (int turn = 0; turn < 16 && host->error_fd >= 0; turn++)
		on_error(host, 0);
}

static void on_process(void *ctx, uint32_t events)
{
	struct host *host = ctx;
	struct rusage usage = { 0 };
	siginfo_t info;
	int status = 0;

	(void)events;
	/* Peak memory is told before the reaping; what it left behind in its process group goes
	 * with it. */
	(void)syscall(SYS_waitid, P_PID, host->process.pid, &info, WEXITED | WNOHANG | WNOWAIT,
		      &usage);
	host_signal(host, SIGKILL);
	read_rest(host);
	host_output_finish(&host->output);
	host_output_finish(&host->errors);
	loop_remove(host->loop, &host->process_watch);
	if (host->scratch)
		scratch_drop(host->scratch, host->process.pid);
	if (process_reap(&host->process, &status) != 1)
		CHECK(!"pidfd readable, yet nothing to reap");
	pool_host_gone(host, status, usage.ru_maxrss * INT64_C(1024));
}

static void watch(struct host *host)
{
	host->in_watch = loop_add(host->loop, host->in_fd, 0, on_in, host);
	host->out_watch = loop_add(host->loop, host->out_fd, EPOLLIN, on_out, host);
	host->error_watch = loop_add(host->loop, host->error_fd, EPOLLIN, on_error, host);
	host->process_watch = loop_add(host->loop, host->process.pidfd, EPOLLIN, on_process, host);
}

struct host *host_new(struct pool *pool, struct host_group *group, struct loop *loop,
		      const struct host_launch *launch, struct error *err_r)
{
	struct host *host = xcalloc(1, sizeof(*host));
	struct ends ends;

	*host = (struct host){ .pool = pool,
			       .group = group,
			       .loop = loop,
			       .process = PROCESS_NONE,
			       .scratch = launch->scratch,
			       .state = HOST_UP };
	list_init(&host->link);
	list_init(&host->in_hand);
	host->concurrency = 1;
	host->line_bytes_max = launch->line_bytes_max;
	strbuf_init(&host->in);
	strbuf_init(&host->out);
	host->timer = loop_timer_new(loop, on_due, host);
	if (open_pipes(host, &ends) < 0 || (launch->with_cell && open_cell(host, &ends) < 0))
		error_set(err_r, ERROR_FULL, "cannot make pipes: %s", strerror(errno));
	else if (spawn(host, launch, &ends, err_r) == 0)
		watch(host);
	close_fd(&ends.in);
	close_fd(&ends.out);
	close_fd(&ends.error);
	close_fd(&ends.cell);
	if (host->process.pid == 0) {
		host_free(&host);
		return NULL;
	}
	host_output_init(&host->output, "stdout", host->process.pid, host_group_name(group));
	host_output_init(&host->errors, "stderr", host->process.pid, host_group_name(group));
	strbuf_addstr(&host->out, launch->hello);
	return host;
}

/* ---- end */
static void bury_process(struct host *host)
{
	int status;

	if (host->process.pid == 0)
		return;
	host_signal(host, SIGKILL);
	while (process_reap(&host->process, &status) == 0)
		usleep(1000); /* SIGKILL takes a moment; only while the pool is taken down */
}

void host_free(struct host **pointer)
{
	struct host *host = *pointer;

	loop_remove(host->loop, &host->in_watch);
	loop_remove(host->loop, &host->out_watch);
	loop_remove(host->loop, &host->error_watch);
	loop_remove(host->loop, &host->process_watch);
	loop_timer_free(&host->timer);
	bury_process(host);
	close_fd(&host->in_fd);
	close_fd(&host->out_fd);
	close_fd(&host->error_fd);
	if (host->cell)
		munmap(host->cell, sizeof(struct host_cell));
	strbuf_release(&host->in);
	strbuf_release(&host->out);
	list_remove(&host->link);
	free(host);
	*pointer = NULL;
}

void host_signal(struct host *host, int signal)
{
	process_signal(&host->process, signal, true);
}

void host_kill(struct host *host, enum host_end end)
{
	if (host->end == HOST_END_ITSELF)
		host->end = end;
	host->state = HOST_DYING;
	host_signal(host, SIGKILL);
}

void host_close_input(struct host *host)
{
	loop_remove(host->loop, &host->in_watch);
	close_fd(&host->in_fd);
	strbuf_clear(&host->out);
	host->out_at = 0;
}

void host_wake_at(struct host *host, int64_t due_ns)
{
	if (host->timer_ns && host->timer_ns <= due_ns)
		return;
	host->timer_ns = due_ns;
	loop_timer_set(host->timer, due_ns);
}

/* ---- bytes out */
size_t host_unwritten(const struct host *host)
{
	return host->out.len - host->out_at;
}

uint64_t host_input_end(const struct host *host)
{
	return host->written + host_unwritten(host);
}

uint64_t host_input_read(const struct host *host)
{
	int left = 0;

	/* The pipe keeps what was not read for as long as we hold our end. */
	if (host->in_fd >= 0 && ioctl(host->in_fd, FIONREAD, &left) < 0)
		left = 0;
	return host->written - (uint64_t)left;
}

void host_flush(struct host *host)
{
	while (host->in_fd >= 0 && host_unwritten(host) > 0) {
		ssize_t n = write(host->in_fd, host->out.data + host->out_at, host_unwritten(host));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		/* EPIPE: it is going; its end is told by its process, what it left unread by the
		 * pipe */
		if (n < 0) {
			host->out_at = host->out.len;
			break;
		}
		host->out_at += (size_t)n;
		host->written += (uint64_t)n;
	}
	if (host_unwritten(host) == 0) {
		strbuf_clear(&host->out);
		host->out_at = 0;
	} else if (host->out_at > HOST_AHEAD_BYTES) {
		strbuf_consume(&host->out, host->out_at);
		host->out_at = 0;
	}
	if (host->in_watch)
		loop_change(host->loop, host->in_watch, host_unwritten(host) ? EPOLLOUT : 0);
}

/* ---- bytes in */
static void take_lines(struct host *host)
{
	size_t at = 0;

	while (host->end != HOST_END_FAULT && at < host->in.len) {
		const char *start = host->in.data + at,
			   *end = memchr(start, '\n', host->in.len - at);

		if (!end)
			break;
		at += (size_t)(end - start) + 1;
		if (*start == '{')
			pool_line(host, start, (size_t)(end - start));
		else
			host_output_add(&host->output, start, (size_t)(end - start) + 1);
	}
	strbuf_consume(&host->in, at);
}

static void check_line_length(struct host *host)
{
	if (host->in.len <= host->line_bytes_max || host->end == HOST_END_FAULT)
		return;
	snprintf(host->fault, sizeof(host->fault), "wrote a line longer than %zu bytes",
		 host->line_bytes_max);
	host_kill(host, HOST_END_FAULT);
}

/* Reads what there is and hands every line to pool_line; used while it lives and once more when it
 * has died. */
static void host_read(struct host *host)
{
	size_t total = 0;

	while (host->out_fd >= 0 && total < HOST_READ_BYTES && host->end != HOST_END_FAULT) {
		ssize_t n;

		strbuf_reserve(&host->in, 64 * 1024);
		n = read(host->out_fd, host->in.data + host->in.len, 64 * 1024);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (n == 0)
				out_ended(host);
			break;
		}
		host->in.len += (size_t)n;
		host->in.data[host->in.len] = 0;
		total += (size_t)n;
		take_lines(host);
		check_line_length(host);
		if (n < 4096) /* most likely all there was: spare the call that says so */
			break;
	}
	if (host->end == HOST_END_FAULT && host->out_fd >= 0)
		drop_out(host);
}
