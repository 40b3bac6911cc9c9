/* SPDX-License-Identifier: Apache-2.0 */
/* `windlass host`: limits and the sandbox first, then either the loop of a module host or the exec
 * of somebody's program. The protocol's descriptors are moved out of the way before a module is
 * loaded, so that its prints reach the log and not the engine. A module's init() may still call
 * what its handlers may not: it is the deployment's code, and has seen no job. */
#include "workers/handlers/host_main.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "workers/handlers/host_loop.h"
#include "workers/handlers/sandbox.h"

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
static struct host_cell *cell_of_caught; /* for the handler of SIGSYS; NULL: no cell */

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
	long long memory_bytes, file_bytes;
	bool cell, exec, sandbox, own_directory;
	const char *scratch; /* each host makes its folder in it; NULL: it has none */
	const char *module;
	struct sandbox_paths read, write, hidden;
	char **argv; /* exec */
};

/* ---- the command line */
static int usage(void)
{
	fprintf(stderr,
		"usage: windlass host [OPTIONS] [--cell] --module PATH\n"
		"       windlass host [OPTIONS] [--own-directory] --exec -- PROGRAM [ARGUMENT...]\n"
		"  --parent PID  --memory BYTES  --file BYTES  --scratch FOLDER\n"
		"  --sandbox  --read PATH  --write PATH  --hide PATH\n");
	return -1;
}

static void add_path(struct sandbox_paths *paths, const char *path)
{
	paths->items = xrealloc(paths->items, (paths->count + 1) * sizeof(*paths->items));
	paths->items[paths->count++] = path;
}

static bool parse_flag(const char *name, struct host_options *options)
{
	if (strcmp(name, "--cell") == 0)
		options->cell = true;
	else if (strcmp(name, "--exec") == 0)
		options->exec = true;
	else if (strcmp(name, "--sandbox") == 0)
		options->sandbox = true;
	else if (strcmp(name, "--own-directory") == 0)
		options->own_directory = true;
	else
		return false;
	return true;
}

static bool parse_value(const char *name, const char *value, struct host_options *options)
{
	if (strcmp(name, "--module") == 0)
		options->module = value;
	else if (strcmp(name, "--scratch") == 0)
		options->scratch = value;
	else if (strcmp(name, "--parent") == 0)
		options->parent = strtol(value, NULL, 10);
	else if (strcmp(name, "--memory") == 0)
		options->memory_bytes = strtoll(value, NULL, 10);
	else if (strcmp(name, "--file") == 0)
		options->file_bytes = strtoll(value, NULL, 10);
	else if (strcmp(name, "--read") == 0)
		add_path(&options->read, value);
	else if (strcmp(name, "--write") == 0)
		add_path(&options->write, value);
	else if (strcmp(name, "--hide") == 0)
		add_path(&options->hidden, value);
	else
		return false;
	return true;
}

static int parse(int argc, char **argv, struct host_options *options_r)
{
	int i;

	*options_r = (struct host_options){ 0 };
	for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (parse_flag(argv[i], options_r))
			continue;
		if (i + 1 == argc || !parse_value(argv[i], argv[i + 1], options_r))
			return usage();
		i++;
	}
	if (i < argc)
		options_r->argv = &argv[i + 1];
	if (options_r->exec ? !options_r->argv || !options_r->argv[0] || options_r->module
			    : !options_r->module)
		return usage();
	return 0;
}

static void options_release(struct host_options *options)
{
	free(options->read.items);
	free(options->write.items);
	free(options->hidden.items);
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

/* No limit on processes: the kernel counts all of the user's, not those of one host. */
static void set_limits(const struct host_options *options)
{
	limit(RLIMIT_CORE, 0, 0);
	limit(RLIMIT_NOFILE, NOFILE_SOFT, NOFILE_HARD);
	if (options->file_bytes > 0)
		limit(RLIMIT_FSIZE, (rlim_t)options->file_bytes, (rlim_t)options->file_bytes);
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

/* ---- the sandbox */
/* The host's own folder, named by its process; the engine removes it. A module runs in it; a
 * program runs where its definitions lie, unless it wants to run there as well. */
static int enter_scratch(const struct host_options *options, char path_r[PATH_MAX],
			 struct error *err_r)
{
	path_r[0] = 0;
	if (!options->scratch)
		return 0;
	snprintf(path_r, PATH_MAX, "%s/%ld", options->scratch, (long)getpid());
	if (mkdir(path_r, 0700) < 0 || setenv("TMPDIR", path_r, 1) < 0 ||
	    ((options->module || options->own_directory) && chdir(path_r) < 0))
		return error_set(err_r, ERROR_INTERNAL, "%s: %s", path_r, strerror(errno));
	return 0;
}

static int enter_sandbox(const struct host_options *options, struct error *err_r)
{
	char directory[PATH_MAX], scratch[PATH_MAX];
	struct sandbox sandbox = {
		.directory = directory,
		.program = options->module ? options->module : options->argv[0],
		.read = options->read,
		.write = options->write,
		.hidden = options->hidden,
	};

	if (!getcwd(directory, sizeof(directory)))
		return error_set(err_r, ERROR_INTERNAL, "working directory: %s", strerror(errno));
	if (enter_scratch(options, scratch, err_r) < 0)
		return -1;
	if (!options->sandbox)
		return 0;
	sandbox.scratch = *scratch ? scratch : NULL;
	if (sandbox_drop_privileges(err_r) < 0)
		return -1;
	/* Until a program is started; a leak checker attaches to its own process. */
	if (!SHADOW_MEMORY)
		(void)prctl(PR_SET_DUMPABLE, 0);
	return sandbox_close_files(&sandbox, err_r);
}

static void on_caught(int number)
{
	if (cell_of_caught)
		atomic_store(&cell_of_caught->forbidden, number + 1);
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

static int become(const struct host_options *options)
{
	char **argv = options->argv;
	struct error error;

	if (enter_sandbox(options, &error) == 0 &&
	    (!options->sandbox || sandbox_forbid_calls(NULL, &error) == 0)) {
		execvp(argv[0], argv);
		error_set(&error, ERROR_NOT_FOUND, "cannot start %.200s: %s", argv[0],
			  strerror(errno));
	}
	say_unready(STDOUT_FILENO, error.message);
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

/* A sanitizer attaches to its process and starts programs: its builds go without the filter. */
static int load_module(const struct host_options *options, struct host_cell *cell,
		       struct host_module *module_r, struct error *err_r)
{
	if (host_module_load(options->module, module_r, err_r) < 0)
		return -1;
	cell_of_caught = cell;
	return options->sandbox && !SHADOW_MEMORY ? sandbox_forbid_calls(on_caught, err_r) : 0;
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
	if (enter_sandbox(options, &error) < 0 || load_module(options, cell, &module, &error) < 0) {
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
	int code = EX_USAGE;

	if (parse(argc, argv, &options) == 0) {
		if (!follow(&options))
			return EX_UNAVAILABLE;
		set_limits(&options);
		code = options.exec ? become(&options) : serve_module(&options);
	}
	options_release(&options);
	return code;
}
