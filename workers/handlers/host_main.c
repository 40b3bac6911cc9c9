/* SPDX-License-Identifier: Apache-2.0 */
/* `windlass host`: limits first, then either the loop of a module host or the exec of somebody's
 * program. The protocol's descriptors are moved out of the way before a module is loaded, so that
 * its prints reach the log and not the engine. */
#include "workers/handlers/host_main.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "workers/handlers/host_loop.h"

#define NOFILE_SOFT    1024
#define NOFILE_HARD    4096
#define EX_NOT_STARTED 127 /* as shells say it */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SHADOW_MEMORY true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SHADOW_MEMORY true
#endif
#endif
#ifndef SHADOW_MEMORY
#define SHADOW_MEMORY false
#endif

static volatile sig_atomic_t term_asked;

bool host_term_asked(void)
{
	return term_asked != 0;
}

static void on_term(int signal)
{
	(void)signal;
	term_asked = 1;
}

struct host_options {
	long parent; /* 0: not given */
	long long memory_bytes;
	bool cell, exec;
	const char *module;
	char **argv; /* exec */
};

/* ---- the command line */
static int usage(void)
{
	fprintf(stderr,
		"usage: windlass host [--parent PID] [--memory BYTES] [--cell] --module PATH\n"
		"       windlass host [--parent PID] [--memory BYTES] --exec -- PROGRAM [ARGUMENT...]\n");
	return -1;
}

static int parse(int argc, char **argv, struct host_options *options_r)
{
	int i;

	*options_r = (struct host_options){ 0 };
	for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		bool more = i + 1 < argc;

		if (strcmp(argv[i], "--cell") == 0)
			options_r->cell = true;
		else if (strcmp(argv[i], "--exec") == 0)
			options_r->exec = true;
		else if (strcmp(argv[i], "--module") == 0 && more)
			options_r->module = argv[++i];
		else if (strcmp(argv[i], "--parent") == 0 && more)
			options_r->parent = strtol(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--memory") == 0 && more)
			options_r->memory_bytes = strtoll(argv[++i], NULL, 10);
		else
			return usage();
	}
	if (i < argc)
		options_r->argv = &argv[i + 1];
	if (options_r->exec ? !options_r->argv || !options_r->argv[0] || options_r->module
			    : !options_r->module)
		return usage();
	return 0;
}

/* ---- limits */
static void limit(int what, rlim_t soft, rlim_t hard)
{
	struct rlimit now, wanted = { .rlim_cur = soft, .rlim_max = hard };

	if (getrlimit(what, &now) < 0)
		return;
	if (now.rlim_max != RLIM_INFINITY && wanted.rlim_max > now.rlim_max)
		wanted.rlim_max = now.rlim_max;
	if (wanted.rlim_cur > wanted.rlim_max)
		wanted.rlim_cur = wanted.rlim_max;
	(void)setrlimit(what, &wanted);
}

static void set_limits(const struct host_options *options)
{
	limit(RLIMIT_CORE, 0, 0);
	limit(RLIMIT_NOFILE, NOFILE_SOFT, NOFILE_HARD);
	/* A sanitizer's shadow counts as data. */
	if (options->memory_bytes > 0 && !SHADOW_MEMORY)
		limit(RLIMIT_DATA, (rlim_t)options->memory_bytes, (rlim_t)options->memory_bytes);
}

/* Dies with its engine: false when that is gone already. */
static bool follow(const struct host_options *options)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return false;
	return options->parent == 0 || getppid() == options->parent;
}

/* ---- exec */
static void say_unready(int fd, const char *reason)
{
	struct strbuf line;
	ssize_t n;

	strbuf_init(&line);
	strbuf_addstr(&line, "{\"ready\":0,\"reason\":");
	strbuf_json(&line, reason);
	strbuf_addstr(&line, "}\n");
	n = write(fd, line.data, line.len);
	(void)n; /* the exit code says it too */
	strbuf_release(&line);
}

static int become(char **argv)
{
	char reason[300];

	execvp(argv[0], argv);
	snprintf(reason, sizeof(reason), "cannot start %.200s: %s", argv[0], strerror(errno));
	say_unready(STDOUT_FILENO, reason);
	return EX_NOT_STARTED;
}

/* ---- module */
/* Our descriptors go up and are closed on exec; what is left at 0 and 1 is harmless. */
static int move_descriptors(int *in_r, int *out_r)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	*in_r = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 10);
	*out_r = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);
	if (null < 0 || *in_r < 0 || *out_r < 0)
		return -1;
	if (dup2(null, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		return -1;
	close(null);
	return setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
}

static struct host_cell *map_cell(void)
{
	void *cell = mmap(NULL, sizeof(struct host_cell), PROT_READ | PROT_WRITE, MAP_SHARED,
			  HOST_CELL_FD, 0);

	close(HOST_CELL_FD);
	return cell == MAP_FAILED ? NULL : cell;
}

static void catch_term(void)
{
	struct sigaction action = { .sa_handler = on_term };

	/* Without SA_RESTART: a handler that sleeps or reads is woken. */
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static int serve_module(const struct host_options *options)
{
	struct host_cell *cell = options->cell ? map_cell() : NULL;
	struct host_module module;
	struct host_link link;
	struct error error;
	int in, out;

	if (move_descriptors(&in, &out) < 0 || (options->cell && !cell))
		return EX_OSERR;
	catch_term();
	if (host_module_load(options->module, &module, &error) < 0) {
		fprintf(stderr, "%s\n", error.message);
		say_unready(out, error.message);
		return EX_CONFIG;
	}
	host_link_init(&link, in, out);
	strbuf_addstr(&link.out, "{\"ready\":1}\n");
	host_loop(&link, &module, cell);
	host_module_release(&module);
	host_link_release(&link);
	return 0;
}

int host_main(int argc, char **argv)
{
	struct host_options options;

	if (parse(argc, argv, &options) < 0)
		return EX_USAGE;
	if (!follow(&options))
		return EX_UNAVAILABLE;
	set_limits(&options);
	return options.exec ? become(options.argv) : serve_module(&options);
}
