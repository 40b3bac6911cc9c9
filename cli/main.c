/* SPDX-License-Identifier: Apache-2.0 */
/* The program `windlass`: finds the subcommand and hands over. Exit codes are those of sysexits.h:
 * 64 misused, 65 data refused, 69 not reachable, 70 bug, 77 not allowed, 78 configuration. */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "common/base/check.h"
#include "common/config/settings.h"
#include "common/config/suggest.h"

#include "cli/command.h"

static command_fn command_help, command_version;

static const struct command commands[] = {
	{ "run", command_run, "",
	  "Run the gateway, the dispatcher and the workers; what a machine needs.", NULL },
	{ "gateway", command_gateway, "", "Run the HTTP API alone.", NULL },
	{ "dispatch", command_dispatch, "", "Bring jobs and results to the broker; alone.", NULL },
	{ "work", command_work, "", "Run one worker alone.", NULL },
	{ "scaler", command_scaler, "", "Follow the wanted number of workers; started by run.",
	  NULL },
	{ "host", command_host, "", "Run handlers of a module; started by workers.", NULL },
	{ "migrate", command_migrate, "", "Bring the store's schema up to date.", NULL },
	{ "check", command_check, "", "Check settings and job definitions.",
	  "  --schema       print the JSON Schema of the definitions file, for editors\n" },
	{ "settings", command_settings, "", "Show every setting, its value and its default.",
	  "  --json         as JSON\n" },
	{ "doctor", command_doctor, "",
	  "Look for what is wrong on this machine, and say what to do.",
	  "  --json         as JSON\n" },
	{ "enqueue", command_enqueue, "TYPE [JSON]",
	  "Hand in a job; a JSON of - is read from standard input.",
	  "  --wait[=TIME]  wait for its end (30s) and print it\n"
	  "  --priority P   high, normal or low\n"
	  "  --queue NAME   another queue than its type's\n"
	  "  --delay TIME   run it later, as in 10m\n"
	  "  --run-at TIME  run it at this time (RFC 3339)\n"
	  "  --unique KEY   at most one unfinished job of this type with this key\n"
	  "  --tag TAG      may be repeated\n"
	  "  --json         print the whole answer\n" },
	{ "jobs", command_jobs, "list | show ID | cancel ID | retry ID | resolve ID",
	  "See and steer jobs.",
	  "  --state S --type T --queue Q --tag T   which ones to list\n"
	  "  --limit N      how many to list (20)\n"
	  "  --reason TEXT  why they are cancelled\n"
	  "  --call STEP --verdict succeeded|not_sent [--status N] [--body TEXT]\n"
	  "                 resolve: what became of a call of a parked job\n"
	  "  --json         as JSON\n" },
	{ "batch", command_batch, "run TYPE [FILE] | list | show ID | cancel ID | retry ID",
	  "Make a job of every row of a source, and see how it goes.",
	  "  FILE               NDJSON or .csv of this machine; or one of:\n"
	  "  --sql QUERY --key COLUMN   rows of the database, by a unique column\n"
	  "  --file NAME        a file in the service's WINDLASS_BATCH_DIR\n"
	  "  --job ID           the list that is this job's result\n"
	  "  --payload JSON     of each job, with ${row.x}; else the row itself\n"
	  "  --queue NAME  --priority high|normal|low  --name TEXT\n"
	  "  --on-complete TYPE  --on-failure TYPE  jobs that tell of the end\n"
	  "  --id ID            go on with this one after an interruption\n"
	  "  --no-wait          do not wait for its end\n" },
	{ "queues", command_queues, "[pause NAME | resume NAME]", "See, pause and resume queues.",
	  "  --json         as JSON\n" },
	{ "scale", command_scale, "[NAME=N | NAME=file | NAME]...",
	  "See the pools of workers; say how many workers there are to be.",
	  "  --hosts N      jobs that each worker runs at once\n"
	  "  --node NAME    on this machine only, as WINDLASS_NODE names it\n"
	  "  --json         as JSON\n" },
	{ "limits", command_limits, "[queue NAME | type NAME]",
	  "See and set limits: jobs in hand at once, hand-outs a second, turns.",
	  "  --concurrency N --rate RATE   of all its jobs, as in 8 and 200/s; none; null: the file's\n"
	  "  --key-concurrency N --key-rate RATE   of those of each fair key (of a queue)\n"
	  "  --fair true    its fair keys take turns (of a queue)\n"
	  "  --weights JSON turns a round, as in '{\"acme\": 3}'\n"
	  "  --reset        whatever is not said here is the file's again\n"
	  "  --json         as JSON\n" },
	{ "schedules", command_schedules,
	  "[list | show NAME | set NAME [JSON] | remove NAME | pause NAME | resume NAME | run NAME | "
	  "next NAME | runs NAME]",
	  "See and steer schedules.",
	  "  --job TYPE     set: the job that it makes; the JSON is its payload then\n"
	  "  --cron EXPR    set: when, as in \"30 2 * * *\"; or\n"
	  "  --every TIME   set: at an interval, as in 5m; or\n"
	  "  --at TIME      set: once (RFC 3339)\n"
	  "  --zone NAME    set: time zone of --cron (UTC)\n"
	  "  --missed P     set: run_once, skip or run_all\n"
	  "  --max-late TIME  set: how late a run may be (1d)\n"
	  "  --count N      next, runs: how many\n"
	  "  --json         as JSON\n" },
	{ "targets", command_targets, "", "See the third parties that workers call.",
	  "  --json         as JSON\n" },
	{ "audit", command_audit, "", "See who changed what while it ran.",
	  "  --who KEY --action A --object NAME   which ones to list\n"
	  "  --limit N      how many (50)\n"
	  "  --json         as JSON\n" },
	{ "sources", command_sources, "",
	  "See what comes from other services, and how far it is read.",
	  "  --json         as JSON\n" },
	{ "source", command_source, "seek NAME", "Read a Kafka source from somewhere else.",
	  "  --to WHERE     earliest, latest, an offset, or a time (RFC 3339)\n"
	  "  --partition N  only this one\n" },
	{ "key", command_key, "new [ID]", "Make an API key, and its line for WINDLASS_API_KEYS.",
	  "  --scopes LIST  what it may do (enqueue:*,read,cancel)\n"
	  "  --tenant NAME  whose jobs it sees\n"
	  "  --expires TIME until when it works, as in 2027-01-01T00:00:00Z\n"
	  "  --rate RATE    requests that it may make, 100/s or 600/m\n"
	  "  --burst N      of these at once\n"
	  "  --waiting N    jobs of it that may be unfinished\n" },
	{ "version", command_version, "", "Print the version.", NULL },
	{ "help", command_help, "[COMMAND]", "Print this, or what a command takes.", NULL },
};

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

static void print_commands(FILE *out)
{
	fprintf(out, "usage: windlass COMMAND [OPTIONS]\n\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].help);
	fprintf(out, "\nSettings come from the environment: `windlass settings` lists them.\n");
}

static int unknown(const char *name)
{
	struct suggest suggest = { .word = name };

	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		suggest_offer(&suggest, commands[i].name);
	fprintf(stderr, "windlass: unknown command %s%s%s%s `windlass help` lists them\n", name,
		suggest.best ? "; did you mean " : ";", suggest.best ? suggest.best : "",
		suggest.best ? "?" : "");
	return EX_USAGE;
}

static int command_help(const struct command *command, int argc, char **argv)
{
	const struct command *about;

	(void)command;
	if (argc < 2) {
		print_commands(stdout);
		return EX_OK;
	}
	about = find(argv[1]);
	if (!about)
		return unknown(argv[1]);
	command_usage(about, stdout);
	return EX_OK;
}

static int command_version(const struct command *command, int argc, char **argv)
{
	(void)command, (void)argc, (void)argv;
	puts("windlass " WINDLASS_VERSION);
	return EX_OK;
}

int main(int argc, char **argv)
{
	const struct command *command;
	const char *name = argc > 1 ? argv[1] : NULL;

	settings_conceal_environment();
	if (!name) {
		print_commands(stderr);
		return EX_USAGE;
	}
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
		name = "help";
	else if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)
		name = "version";
	command = find(name);
	return command ? command->run(command, argc - 1, argv + 1) : unknown(name);
}
