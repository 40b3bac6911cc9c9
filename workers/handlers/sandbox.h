/* SPDX-License-Identifier: Apache-2.0 */
/* What a host may do to the machine it runs on, from the moment its sandbox is entered: which files
 * it sees (Landlock) and which system calls it may make (seccomp). Entered by the host itself
 * (host_main.c) before any code of a user's runs; there is no way back, and children inherit it.
 * What the kernel does not have is left out: `windlass doctor` tells. */
#ifndef WORKERS_HANDLERS_SANDBOX_H
#define WORKERS_HANDLERS_SANDBOX_H
#include <stdbool.h>
#include <stddef.h>

#include "common/base/check.h"
#include "common/base/error.h"

struct sandbox_paths {
	const char **items; /* borrowed */
	size_t count;
};

struct sandbox {
	/* Where the definitions file lies; read, but for names that begin with a dot. */
	const char *directory;
	const char *scratch;              /* the host's own folder, or NULL: none */
	const char *program;              /* the module's path, or what is executed */
	struct sandbox_paths read, write; /* asked for by the job types */
	struct sandbox_paths hidden;      /* the engine's: seen by no host */
};

/* Gives up privileges for good: no_new_privs and, for root, every capability. */
int sandbox_drop_privileges(struct error *err_r) must_check;
/* From here on only these files: read system folders, the program's and the definitions' folder and
 * what is asked for; write the scratch folder and what is asked for. Processes outside of the
 * sandbox can be neither signalled nor looked into. 0, also where the kernel has no Landlock; or
 * -1: a path that was asked for is not there or holds the engine's files, or the kernel refused. */
int sandbox_close_files(const struct sandbox *sandbox, struct error *err_r) must_check;
/* Called with the number of the forbidden call that a module made, in a signal handler; the process
 * dies after it. */
typedef void sandbox_caught_fn(int number);
/* From here on no system calls that administer the machine or look into other processes; all
 * threads. With `caught` (a module) none that starts a program either. 0, also where the kernel has
 * no seccomp; or -1. */
int sandbox_forbid_calls(sandbox_caught_fn *caught, struct error *err_r) must_check;

/* ---- for those outside */
int sandbox_landlock(void); /* the kernel's version of Landlock, 0: none */
bool sandbox_seccomp(void);
/* "execve"; of a number that is not known "system call 999". */
#define SANDBOX_CALL_TEXT 48
const char *sandbox_call_name(int number, char text_r[SANDBOX_CALL_TEXT]);

#endif
