/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs become messages here. The bodies lie in one buffer, which may move while it grows, so items
 * point into it only at the end. */
#include "producers/dispatch/parcel.h"

#include "common/broker/envelope.h"

void parcel_init(struct parcel *parcel)
{
	parcel->take_count = parcel->count = 0;
	strbuf_init(&parcel->bodies);
}

void parcel_clear(struct parcel *parcel)
{
	for (size_t i = 0; i < parcel->count; i++) {
		struct arena *arena = parcel->jobs[i]->arena;

		arena_free(&arena);
	}
	parcel->take_count = parcel->count = 0;
	strbuf_clear(&parcel->bodies);
}

void parcel_release(struct parcel *parcel)
{
	parcel_clear(parcel);
	strbuf_release(&parcel->bodies);
}

size_t parcel_room(const struct parcel *parcel, size_t bytes_each)
{
	size_t left = PARCEL_JOBS_MAX - parcel->count, fitting;

	if (parcel->take_count == PARCEL_TAKES_MAX)
		return 0;
	if (!parcel->count && bytes_each >= PARCEL_BYTES_MAX)
		return 1;
	if (parcel->bodies.len >= PARCEL_BYTES_MAX)
		return 0;
	fitting = bytes_each ? (PARCEL_BYTES_MAX - parcel->bodies.len) / bytes_each : left;
	return fitting < left ? fitting : left;
}

static void add_job(struct parcel *parcel, struct claimed_job *job, const struct uuid *batch,
		    const char *topic, bool ordered, size_t bytes_max)
{
	struct envelope_job message = {
		.id = job->id,
		.batch = *batch,
		.attempt = job->attempt,
		.queue = job->queue,
		.type = job->type,
		.payload = job->payload,
		.payload_bytes = job->payload_bytes,
		.created_ms = job->created_ms,
		.traceparent = job->traceparent,
	};

	parcel->jobs[parcel->count] = job;
	parcel->offsets[parcel->count] = parcel->bodies.len;
	parcel->items[parcel->count] = (struct publication){
		.id = job->id,
		.topic = topic,
		.key = ordered ? job->order_key : NULL,
		.traceparent = job->traceparent,
	};
	envelope_add_job(&parcel->bodies, &message, bytes_max);
	parcel->items[parcel->count].body_bytes =
		parcel->bodies.len - parcel->offsets[parcel->count];
	parcel->count++;
}

void parcel_add(struct parcel *parcel, size_t place, const struct uuid *batch,
		const struct claim *claim, const char *topic, bool ordered, size_t bytes_max)
{
	CHECK(parcel->take_count < PARCEL_TAKES_MAX &&
	      parcel->count + claim->count <= PARCEL_JOBS_MAX);
	parcel->takes[parcel->take_count++] = (struct parcel_take){
		.batch = *batch, .place = place, .first = parcel->count, .count = claim->count
	};
	for (size_t i = 0; i < claim->count; i++)
		add_job(parcel, claim->jobs[i], batch, topic, ordered, bytes_max);
}

void parcel_close(struct parcel *parcel)
{
	for (size_t i = 0; i < parcel->count; i++)
		parcel->items[i].body = parcel->bodies.data + parcel->offsets[i];
}

void parcel_result(const struct parcel *parcel, const struct parcel_take *take,
		   struct parcel_result *result_r)
{
	result_r->confirmed = result_r->back_count = 0;
	result_r->refused = NULL;
	for (size_t i = take->first; i < take->first + take->count; i++) {
		const struct publication *item = &parcel->items[i];

		if (item->confirmed) {
			result_r->confirmed++;
			continue;
		}
		result_r->back[result_r->back_count++] = item->id;
		if (item->refused)
			result_r->refused = item->refused;
	}
}
