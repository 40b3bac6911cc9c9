/* SPDX-License-Identifier: Apache-2.0 */
/* A host group: the hosts that are alike, because they load the same module file or run the same
 * command with the same environment and memory; and the tasks that wait for one of them. Owned by
 * the pool, loop thread only. */
#ifndef WORKERS_POOL_HOST_GROUP_H
#define WORKERS_POOL_HOST_GROUP_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/base/list.h"
#include "common/config/definitions.h"
#include "workers/pool/host.h"

struct host_confines {             /* the same for all hosts of an engine; borrowed from the pool */
	struct scratch *scratch;   /* NULL: none */
	const char *const *hidden; /* files that none of them sees; NULL-terminated */
};

struct host_recipe { /* how its hosts are started; in an arena of its own */
	struct arena *arena;
	const char *const *argv, *const *env;
	const char *directory;
	const char *const *types;
	int64_t memory_bytes_max, file_bytes_max;
	int hosts_max; /* 0: the worker's */
	struct timespec
		built; /* the module file's mtime and number: a rebuilt module is another one */
	ino_t inode;
};

struct host_group {
	struct list link; /* the pool's groups */
	struct pool *pool;
	const struct host_confines *confines;
	char *key;  /* what makes hosts alike */
	char *name; /* for logs: the module's or program's path */
	bool module;
	struct host_recipe recipe;
	struct list hosts;   /* of every state */
	struct list waiting; /* tasks, first come first */
	size_t waiting_count;
	int64_t waiting_since_ns; /* since when not empty */
	int64_t served_ns;        /* when a host was last given something */
	int64_t spawned_ns;       /* the last one */
	int64_t retry_ns;         /* no start before this */
	int failures;             /* hosts in a row that ended before they had said anything */
};

/* Those of the definitions that are alike with `type` make one group. */
struct host_group *host_group_new(struct pool *pool, const struct host_confines *confines,
				  const struct definitions *defs, const struct job_type *type);
void host_group_free(struct host_group **group); /* its hosts and waiting tasks must be gone */
bool host_group_fits(const struct host_group *group, const struct job_type *type);
const char *host_group_name(const struct host_group *group);
/* Follows new definitions: true when its hosts are out of date. A group whose types are gone keeps
 * what it has and is up to date. */
bool host_group_renew(struct host_group *group, const struct definitions *defs);
/* Starts one more; `program` is the windlass binary. NULL with *err_r. */
struct host *host_group_spawn(struct host_group *group, const char *program, struct loop *loop,
			      size_t line_bytes_max, int64_t result_bytes_max, struct error *err_r);
/* Hosts of it that are up; *idle_r and *unready_r of them. */
size_t host_group_count(const struct host_group *group, size_t *idle_r, size_t *unready_r);

#endif
