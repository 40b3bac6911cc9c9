/* SPDX-License-Identifier: Apache-2.0 */
/* What the .proto files say, for the reflection service: written at build by proto/describe. */
#ifndef PRODUCERS_GRPC_GRPC_DESCRIPTORS_H
#define PRODUCERS_GRPC_GRPC_DESCRIPTORS_H
#include <stddef.h>
#include <stdint.h>

struct grpc_file {
	const char *name;          /* "windlass/v1/jobs.proto" */
	const uint8_t *descriptor; /* a serialized google.protobuf.FileDescriptorProto */
	size_t bytes;
	const size_t *needs; /* places in grpc_files of what it imports */
	size_t need_count;
};

struct grpc_symbol {
	const char *name; /* "windlass.v1.Job.id" */
	size_t file;      /* place in grpc_files */
};

extern const struct grpc_file grpc_files[];
extern const size_t grpc_file_count;
extern const struct grpc_symbol grpc_symbols[]; /* by name */
extern const size_t grpc_symbol_count;
extern const char *const grpc_services[]; /* by name */
extern const size_t grpc_service_count;

#endif
