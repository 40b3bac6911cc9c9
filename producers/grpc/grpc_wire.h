/* SPDX-License-Identifier: Apache-2.0 */
/* Looks through a protobuf message as it came, before it is unpacked: protobuf-c takes texts that
 * are not UTF-8, cuts them at a NUL, and makes a hundred bytes of structs out of two bytes of
 * message. */
#ifndef PRODUCERS_GRPC_GRPC_WIRE_H
#define PRODUCERS_GRPC_GRPC_WIRE_H
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"

/* Fields that the messages of one call may have in all. */
#define GRPC_FIELDS_MAX       1000
#define GRPC_BATCH_FIELDS_MAX 300000

/* Takes the fields off *fields_left and unpacks into the arena. NULL: refused, *why_r says what
 * for.
 */
ProtobufCMessage *grpc_wire_unpack(struct arena *arena, const ProtobufCMessageDescriptor *type,
				   const uint8_t *data, size_t bytes, size_t *fields_left,
				   const char **why_r);

#endif
