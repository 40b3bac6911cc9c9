/* SPDX-License-Identifier: Apache-2.0 */
/* A walk over the wire format by the message's description. Recursion is as deep as the messages of
 * the .proto files are nested, which the client does not choose. */
#include "producers/grpc/grpc_wire.h"

#include "common/base/utf8.h"

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct walk {
	const uint8_t *at, *end;
	size_t *fields_left;
	const char **why;
};

static bool refuse(struct walk *walk, const char *why)
{
	*walk->why = why;
	return false;
}

static bool take_varint(struct walk *walk, uint64_t *n_r)
{
	uint64_t n = 0;

	for (unsigned shift = 0; shift < 64 && walk->at < walk->end; shift += 7) {
		uint8_t byte = *walk->at++;
		n |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*n_r = n;
			return true;
		}
	}
	return refuse(walk, "the message is not protobuf");
}

/* The bytes of a value; a varint's are not needed. */
static bool take_value(struct walk *walk, enum wire wire, const uint8_t **data_r, size_t *bytes_r)
{
	uint64_t bytes = 0;

	switch (wire) {
	case WIRE_VARINT:
		return take_varint(walk, &bytes);
	case WIRE_64:
		bytes = 8;
		break;
	case WIRE_32:
		bytes = 4;
		break;
	case WIRE_BYTES:
		if (!take_varint(walk, &bytes))
			return false;
		break;
	default:
		return refuse(walk, "the message is not protobuf");
	}
	if (bytes > (uint64_t)(walk->end - walk->at))
		return refuse(walk, "the message is not protobuf: a field is longer than it");
	*data_r = walk->at;
	*bytes_r = (size_t)bytes;
	walk->at += bytes;
	return true;
}

static bool walk_message(struct walk *walk, const ProtobufCMessageDescriptor *type);

static bool walk_field(struct walk *walk, const ProtobufCMessageDescriptor *type)
{
	const ProtobufCFieldDescriptor *field;
	const uint8_t *data = NULL;
	size_t bytes = 0;
	uint64_t key;

	if (!take_varint(walk, &key) || key >> 3 == 0 || key >> 3 > 0x1fffffff)
		return refuse(walk, "the message is not protobuf");
	if ((*walk->fields_left)-- == 0) {
		*walk->fields_left = 0;
		return refuse(walk, "the message has too many fields");
	}
	if (!take_value(walk, (enum wire)(key & 7), &data, &bytes))
		return false;
	field = protobuf_c_message_descriptor_get_field(type, (unsigned)(key >> 3));
	if (!field || (key & 7) != WIRE_BYTES)
		return true;
	if (field->type == PROTOBUF_C_TYPE_STRING && bytes && !utf8_text((const char *)data, bytes))
		return refuse(walk, "a text of the message is not UTF-8, or holds a NUL");
	if (field->type != PROTOBUF_C_TYPE_MESSAGE)
		return true;
	struct walk inside = { data, data + bytes, walk->fields_left, walk->why };
	return walk_message(&inside, field->descriptor);
}

static bool walk_message(struct walk *walk, const ProtobufCMessageDescriptor *type)
{
	while (walk->at < walk->end) {
		if (!walk_field(walk, type))
			return false;
	}
	return true;
}

static void *allocate(void *arena, size_t bytes)
{
	return arena_alloc(arena, bytes);
}

static void leave(void *arena, void *p)
{
	(void)arena, (void)p;
}

ProtobufCMessage *grpc_wire_unpack(struct arena *arena, const ProtobufCMessageDescriptor *type,
				   const uint8_t *data, size_t bytes, size_t *fields_left,
				   const char **why_r)
{
	ProtobufCAllocator allocator = { .alloc = allocate,
					 .free = leave,
					 .allocator_data = arena };
	struct walk walk = { data, data + bytes, fields_left, why_r };
	ProtobufCMessage *message;

	if (!walk_message(&walk, type))
		return NULL;
	message = protobuf_c_message_unpack(type, &allocator, bytes, data);
	if (!message)
		*why_r = "the message is not protobuf";
	return message;
}
