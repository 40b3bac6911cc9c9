/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands that stay: run, gateway, dispatch, work, host. Each builds what a role needs in
 * order (settings, definitions, signals, metrics), hands over, and takes it down in reverse. */
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "common/base/arena.h"
#include "common/base/log.h"
#include "common/service/service.h"
#include "workers/handlers/host_main.h"
#include "workers/supervisor/process.h"
#include "workers/supervisor/scaler.h"
#include "workers/supervisor/supervisor.h"

#include "cli/command.h"

struct role { /* a service and what it points at */
	struct service service;
	struct settings settings;
};

static void role_close(struct role *role)
{
	metrics_close(&role->service.metrics);
	definitions_unref(&role->service.defs);
	settings_release(&role->settings);
	log_flush();
}

/* 0, or an exit code after saying why. */
static int role_open(struct role *role, const char *name)
{
	*role = (struct role){ 0 };
	if (settings_load(&role->settings, stderr) != 0)
		return EX_CONFIG;
	role->service.settings = &role->settings;
	role->service.defs = definitions_open(&role->settings, stderr);
	if (!role->service.defs || service_init(&role->service, name) != 0) {
		int code = role->service.defs ? EX_OSERR : EX_CONFIG;

		role_close(role);
		return code;
	}
	return EX_OK;
}

/* ---- subcommands */

struct role_options {
	pid_t parent; /* 0: none */
	const char *session, *predecessors[SERVICE_PREDECESSORS_MAX];
	size_t predecessor_count;
	const char *pool; /* or NULL */
	int link_fd;      /* of the scaler; -1 */
};

static int read_options(const struct command *command, int argc, char **argv,
			struct role_options *options_r)
{
	static const struct option options[] = {
		{ "parent", required_argument, NULL, 'p' },
		{ "session", required_argument, NULL, 's' },
		{ "predecessor", required_argument, NULL, 'f' },
		{ "pool", required_argument, NULL, 'o' },
		{ "link", required_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	*options_r = (struct role_options){ .link_fd = -1 };
	while ((option = command_option(command, argc, argv, options)) != -1) {
		if (option == 'p')
			options_r->parent = (pid_t)atoi(optarg);
		else if (option == 's')
			options_r->session = optarg;
		else if (option == 'o')
			options_r->pool = optarg;
		else if (option == 'l')
			options_r->link_fd = atoi(optarg);
		else if (option == 'f' && options_r->predecessor_count < SERVICE_PREDECESSORS_MAX)
			options_r->predecessors[options_r->predecessor_count++] = optarg;
		else
			return EX_USAGE;
	}
	if (optind < argc)
		return command_misused(command, "%s is too much", argv[optind]);
	return EX_OK;
}

static int run_role(const struct command *command, int argc, char **argv)
{
	struct role_options options;
	struct role role;
	int code = read_options(command, argc, argv, &options);

	if (code != EX_OK)
		return code;
	if (command->run == command_scaler && options.link_fd < 0)
		return command_misused(command, "`windlass run` starts it");
	if (options.parent > 0 && !process_follow_parent(options.parent))
		return EX_OK;
	code = role_open(&role, command->name);
	if (code != EX_OK)
		return code;
	if (options.pool) {
		free(role.settings.pool);
		role.settings.pool = xstrdup(options.pool);
	}
	if (command->run == command_scaler) {
		code = scale_main(&role.service, options.link_fd);
		role_close(&role);
		return code;
	}
	role.service.metrics = metrics_open(command->name);
	if (command->run == command_work && !*role.settings.broker_url &&
	    definitions_source_count(role.service.defs))
		log_line(LOG_WARN, "sources-not-read", LOG_S("why", "BROKER_URL is not set"),
			 LOG_I("sources", definitions_source_count(role.service.defs)));
	if (command->run == command_gateway)
		code = gateway_main(&role.service);
	else if (command->run == command_dispatch)
		code = dispatch_main(&role.service, options.parent > 0);
	else
		code = work_main(&role.service, options.session, options.predecessors,
				 options.predecessor_count);
	role_close(&role);
	return code;
}

int command_gateway(const struct command *command, int argc, char **argv)
{
	return run_role(command, argc, argv);
}

int command_dispatch(const struct command *command, int argc, char **argv)
{
	return run_role(command, argc, argv);
}

int command_scaler(const struct command *command, int argc, char **argv)
{
	return run_role(command, argc, argv);
}

int command_work(const struct command *command, int argc, char **argv)
{
	return run_role(command, argc, argv);
}

int command_run(const struct command *command, int argc, char **argv)
{
	struct role_options options;
	struct role role;
	int code = read_options(command, argc, argv, &options);

	if (code != EX_OK)
		return code;
	code = role_open(&role, command->name);
	if (code != EX_OK)
		return code;
	code = supervisor_main(&role.service, "/proc/self/exe");
	role_close(&role);
	return code;
}

int command_host(const struct command *command, int argc, char **argv)
{
	(void)command;
	return host_main(argc, argv);
}
