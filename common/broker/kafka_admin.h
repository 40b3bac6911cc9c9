/* SPDX-License-Identifier: Apache-2.0 */
/* What people ask of a Kafka cluster: is it there, which partitions has a topic, which offsets lie
 * at a point in time, is a group at work. For `windlass doctor` and `windlass source seek`; every
 * call blocks up to timeout_ms. */
#ifndef COMMON_BROKER_KAFKA_ADMIN_H
#define COMMON_BROKER_KAFKA_ADMIN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/store/position.h"

struct kafka_admin;

/* Does not connect yet. 0; -1: ERROR_INVALID (the URL). ca_file NULL: the system's. */
int kafka_admin_open(const char *broker_url, const char *client, const char *ca_file,
		     struct kafka_admin **admin_r, struct error *err_r) must_check;
void kafka_admin_close(struct kafka_admin **admin); /* NULL-safe */

/* Does the cluster answer, and with how many brokers? 0; -1: ERROR_UNAVAILABLE. */
int kafka_admin_check(struct kafka_admin *admin, int timeout_ms, int *brokers_r,
		      struct error *err_r) must_check;
/* 0; -1: ERROR_NOT_FOUND (no such topic), ERROR_INVALID (forbidden), ERROR_UNAVAILABLE. */
int kafka_admin_partitions(struct kafka_admin *admin, const char *topic, int timeout_ms,
			   int *count_r, struct error *err_r) must_check;

#define KAFKA_LATEST   (-1)
#define KAFKA_EARLIEST (-2)
/* For each partition the offset of its first message of that time or later (Unix ms), or the end
 * when there is none; or its end or beginning. The array lives in the arena, `group` is left NULL
 * and `topic` is the caller's. Errors as above. */
int kafka_admin_offsets(struct kafka_admin *admin, const char *topic, int64_t time_ms,
			int timeout_ms, struct arena *arena, struct position **positions_r,
			size_t *count_r, struct error *err_r) must_check;
/* Has the consumer group members now? Then a position that is saved is not seen before they end,
 * and overwritten by what they do. */
int kafka_admin_group_active(struct kafka_admin *admin, const char *group, int timeout_ms,
			     bool *active_r, struct error *err_r) must_check;

#endif
