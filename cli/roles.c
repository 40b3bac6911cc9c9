/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands that stay: run, gateway, work, host. Each builds what a role needs in order (settings, definitions, signals, metrics,
 * schema), hands over, and takes it down in reverse. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "common/base/log.h"
#include "common/service/service.h"
#include "common/store/store.h"
#include "workers/handlers/host_main.h"
#include "workers/supervisor/process.h"
#include "workers/supervisor/supervisor.h"

#include "cli/command.h"

#define STORE_WAIT_FIRST_MS 250
#define STORE_WAIT_MAX_MS 5000

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
	role->service.defs = definitions_load(role->settings.jobs_path, stderr);
	if (!role->service.defs || service_init(&role->service, name) != 0) {
		int code = role->service.defs ? EX_OSERR : EX_CONFIG;

		role_close(role);
		return code;
	}
	return EX_OK;
}

/* ---- the schema: every role brings it up to date; whoever comes first does the work, under the store's lock */

static bool is_passing(enum error_code code)
{
	return code == ERROR_UNAVAILABLE || code == ERROR_UNKNOWN || code == ERROR_CONTENTION || code == ERROR_TIMEOUT;
}

static int migrate(struct store *store, struct error *err_r)
{
	int have, want, applied;

	if (store_schema(store, &have, &want, err_r) != 0)
		return -1;
	if (have > want)
		return error_set(err_r, ERROR_INVALID, "%s has schema %d, made by a newer Windlass; this one knows %d",
				 store_label(store), have, want);
	if (store_migrate(store, &applied, err_r) != 0)
		return -1;
	if (applied)
		log_line(LOG_INFO, "schema-migrated", LOG_S("store", store_label(store)), LOG_I("applied", applied));
	return 0;
}

static int prepare_once(const struct service *service, struct error *err_r)
{
	struct store *store = NULL;
	int rc = store_open(service->settings->database_url, STORE_WRITE, service->role, &store, err_r);

	if (rc == 0)
		rc = migrate(store, err_r);
	store_close(&store);
	return rc;
}

/* Waits as long as the store is away. 0 ready; else the exit code, with *stop_r when a signal ended the wait. */
static int prepare_store(struct service *service, bool *stop_r)
{
	struct pollfd signals = { .fd = service->signal_fd, .events = POLLIN };
	int wait_ms = STORE_WAIT_FIRST_MS;
	struct error error;

	*stop_r = false;
	while (prepare_once(service, &error) != 0) {
		if (!is_passing(error.code)) {
			log_line(LOG_FATAL, "store-refused", LOG_S("error", error.message));
			return EX_CONFIG;
		}
		log_line(LOG_WARN, "store-unavailable", LOG_S("error", error.message), LOG_I("retry_ms", wait_ms));
		(void)poll(&signals, 1, wait_ms);
		for (enum service_signal signal; (signal = service_signal(service)) != SERVICE_NONE;)
			*stop_r = *stop_r || signal == SERVICE_DRAIN || signal == SERVICE_NOW;
		if (*stop_r)
			return EX_OK;
		wait_ms = wait_ms * 2 > STORE_WAIT_MAX_MS ? STORE_WAIT_MAX_MS : wait_ms * 2;
	}
	return EX_OK;
}

/* ---- subcommands */

struct role_options {
	pid_t parent; /* 0: none */
	const char *session, *predecessor;
};

static int read_options(const struct command *command, int argc, char **argv, struct role_options *options_r)
{
	static const struct option options[] = {
		{ "parent", required_argument, NULL, 'p' },
		{ "session", required_argument, NULL, 's' },
		{ "predecessor", required_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	*options_r = (struct role_options){ 0 };
	while ((option = command_option(command, argc, argv, options)) != -1) {
		if (option == 'p')
			options_r->parent = (pid_t)atoi(optarg);
		else if (option == 's')
			options_r->session = optarg;
		else if (option == 'f')
			options_r->predecessor = optarg;
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
	bool stop;
	int code = read_options(command, argc, argv, &options);

	if (code != EX_OK)
		return code;
	if (options.parent > 0 && !process_follow_parent(options.parent))
		return EX_OK;
	code = role_open(&role, command->name);
	if (code != EX_OK)
		return code;
	role.service.metrics = metrics_open(command->name);
	code = prepare_store(&role.service, &stop);
	if (code == EX_OK && !stop)
		code = command->run == command_gateway ? gateway_main(&role.service) :
							  work_main(&role.service, options.session, options.predecessor);
	role_close(&role);
	return code;
}

int command_gateway(const struct command *command, int argc, char **argv)
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
