/* SPDX-License-Identifier: Apache-2.0 */
/* What the subcommands share: their options and how they complain. */
#include "cli/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

void command_usage(const struct command *command, void *file)
{
	fprintf(file, "usage: windlass %s%s%s%s\n\n%s\n", command->name,
		command->options ? " [OPTIONS]" : "", *command->arguments ? " " : "",
		command->arguments, command->help);
	if (command->options)
		fprintf(file, "\n%s", command->options);
}

int command_misused(const struct command *command, const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "windlass %s: ", command->name);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, "\n`windlass help %s` says what it takes\n", command->name);
	return EX_USAGE;
}

int command_failed(const struct command *command, int code, const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "windlass %s: ", command->name);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	return code;
}

int command_option(const struct command *command, int argc, char **argv,
		   const struct option *options)
{
	int option;

	opterr = 0;
	option = getopt_long(argc, argv, ":", options, NULL);
	if (option == 'h') {
		command_usage(command, stdout);
		exit(EX_OK);
	}
	if (option == ':')
		command_misused(command, "%s needs a value", argv[optind - 1]);
	else if (option == '?')
		command_misused(command, "unknown option %s", argv[optind - 1]);
	return option == ':' ? '?' : option;
}

bool command_json(const struct command *command, int argc, char **argv, int arguments_max,
		  bool *json_r)
{
	static const struct option options[] = { { "json", no_argument, NULL, 'j' },
						 { "help", no_argument, NULL, 'h' },
						 { NULL, 0, NULL, 0 } };
	int option;

	*json_r = false;
	while ((option = command_option(command, argc, argv, options)) != -1) {
		if (option != 'j')
			return false;
		*json_r = true;
	}
	if (argc - optind > arguments_max) {
		command_misused(command, "%s is too much", argv[optind + arguments_max]);
		return false;
	}
	return true;
}
