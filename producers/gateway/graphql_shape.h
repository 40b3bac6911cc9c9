/* SPDX-License-Identifier: Apache-2.0 */
/* From the REST API's JSON to the schema's, and back: names in camelCase, states in capitals.
 * Payloads and results stay as they are. */
#ifndef PRODUCERS_GATEWAY_GRAPHQL_SHAPE_H
#define PRODUCERS_GATEWAY_GRAPHQL_SHAPE_H
#include <jansson.h>

/* All give a new reference. */
json_t *graphql_shape_job(const json_t *job);
json_t *graphql_shape_page(const json_t *page); /* a JobConnection */
json_t *graphql_shape_queues(const json_t *page);
json_t *graphql_shape_workers(const json_t *page);
json_t *graphql_shape_schedules(const json_t *page);
json_t *graphql_shape_accepted(const json_t *accepted); /* or a Control */
/* An EnqueueInput as the body of POST /v1/jobs. */
json_t *graphql_shape_enqueue(const json_t *input);

#endif
