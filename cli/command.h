/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands of `windlass`: one row each in main.c, one function each in the files beside it.
 * They are the wiring: what main does with settings, definitions and stations, nothing more. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H
#include <getopt.h>
#include <stdbool.h>

struct command {
	const char *name;
	int (*run)(const struct command *command, int argc,
		   char **argv); /* argv[0] is the subcommand; returns the exit code */
	const char *arguments;   /* "TYPE [JSON]" */
	const char *help;        /* one sentence */
	const char *options;     /* lines for `help COMMAND`, or NULL */
};

typedef int command_fn(const struct command *command, int argc, char **argv);
command_fn command_scaler; /* roles.c too */
command_fn command_run, command_gateway, command_dispatch, command_work, command_host; /* roles.c */
command_fn command_migrate, command_check, command_settings, command_key;              /* setup.c */
command_fn command_doctor;                                /* doctor.c */
command_fn command_sources, command_source;               /* sources.c */
command_fn command_schedules;                             /* schedules.c */
command_fn command_targets;                               /* targets.c */
command_fn command_scale;                                 /* scale.c */
command_fn command_batch;                                 /* batch.c */
command_fn command_audit;                                 /* audit.c */
command_fn command_limits;                                /* limits.c */
command_fn command_enqueue, command_jobs, command_queues; /* enqueue.c jobs.c queues.c */

/* Prints "windlass NAME: message" and how it is used; returns 64. */
int command_misused(const struct command *command, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* getopt_long for a subcommand: -1 at the end; '?' after command_misused has spoken. --help is
 * answered and exits. */
int command_option(const struct command *command, int argc, char **argv,
		   const struct option *options);
/* For a subcommand whose one option is --json, with at most so many arguments, which begin at
 * optind then. False: command_misused has spoken. */
bool command_json(const struct command *command, int argc, char **argv, int arguments_max,
		  bool *json_r);
void command_usage(const struct command *command, void *file);
/* Prints "windlass NAME: message"; returns the code. */
int command_failed(const struct command *command, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
