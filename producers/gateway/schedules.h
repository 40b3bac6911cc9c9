/* SPDX-License-Identifier: Apache-2.0 */
/* What the handlers of schedules share. */
#ifndef PRODUCERS_GATEWAY_SCHEDULES_H
#define PRODUCERS_GATEWAY_SCHEDULES_H
#include "common/config/schedule_definition.h"
#include "common/store/schedule.h"
#include "producers/gateway/exchange.h"

/* A definition of this request, read. Its text and tree live as long as the request. */
struct schedule_reading {
	struct schedule_definition definition;
	struct zones *zones;
	json_t *root;
	struct job_request_error fault;
};

/* Reads a definition; reading->fault says what is wrong, if something is. To be released in any
 * case. Reads the zone's file, so it is for readers' threads. */
int schedules_read(struct json_slice text, struct schedule_reading *reading) must_check;
void schedules_release(struct schedule_reading *reading);
/* The job of a tick, in the request's arena. */
int schedules_job(struct exchange *exchange, struct schedule_reading *reading, const char *name,
		  int64_t tick_ms, struct new_job *job_r) must_check;

void schedules_add(struct strbuf *json, const struct schedule_view *view);
/* "2026-…" or null */
void schedules_add_time(struct strbuf *json, int64_t ms);
/* Refuses with what the store said: an unknown name, the file's, or weather. */
void schedules_refuse(struct exchange *exchange, const struct error *error);
/* {name} is the name of one; no query, and no body but an empty object. False: refused. */
bool schedules_check_steering(struct exchange *exchange);

#endif
