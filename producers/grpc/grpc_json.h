/* SPDX-License-Identifier: Apache-2.0 */
/* Between the messages of jobs.proto and the JSON of the HTTP API, both ways, by the messages'
 * descriptions: a field and a member of the same name are the same thing, so a new field needs no
 * code. Enum values are written in lower case without their prefix, durations and times as the API
 * has them; payload, result and steps are JSON text in a message and stand as they are in JSON. */
#ifndef PRODUCERS_GRPC_GRPC_JSON_H
#define PRODUCERS_GRPC_GRPC_JSON_H
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#include "common/base/arena.h"
#include "common/json/json_text.h"

/* Appends the message as an object, without the fields that have their default value. False: a JSON
 * text in it is none; *error_r and the field's name say what is wrong. */
bool must_check grpc_json_write(struct strbuf *out, const ProtobufCMessage *message,
				struct json_error *error_r, const char **field_r);
/* Fills the message, which is initialised, with those members of the object that it has a field
 * for; object: JSON of ours. What it is filled with lies in the arena. */
void grpc_json_read(struct arena *arena, struct json_slice object, ProtobufCMessage *message);

/* Duration in seconds as the API takes it, "1.5"; "-1" when it is not one. */
struct Google__Protobuf__Duration;
char *grpc_json_duration(struct arena *arena, const struct Google__Protobuf__Duration *duration);

#endif
