/* SPDX-License-Identifier: Apache-2.0 */
/* What `payload.a.b` of a definition stands for in one job. For the handlers without code. */
#ifndef WORKERS_HANDLERS_PAYLOAD_MEMBER_H
#define WORKERS_HANDLERS_PAYLOAD_MEMBER_H
#include <jansson.h>

/* "a.b.0" -> the value at /a/b/0, borrowed; NULL: nothing is there. */
json_t *payload_member(json_t *payload, const char *path);

#endif
