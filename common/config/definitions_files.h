/* SPDX-License-Identifier: Apache-2.0 */
/* What definitions point at in the file system: modules and programs. For definitions.c only. */
#ifndef COMMON_CONFIG_DEFINITIONS_FILES_H
#define COMMON_CONFIG_DEFINITIONS_FILES_H
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/strbuf.h"

/* Appends the file's bytes. 0, or -1 with errno; a file larger than bytes_max is read until one
 * byte more, which the reader then refuses. */
int definitions_read_file(const char *path, size_t bytes_max, struct strbuf *text_r) must_check;
/* The absolute directory that a file lies in, or would. */
const char *definitions_directory(const char *path, struct arena *arena);
const char *definitions_path(const char *directory, const char *path,
			     struct arena *arena); /* absolute */
/* What is wrong with it, or NULL. */
const char *definitions_module_fault(const char *path, struct arena *arena);
const char *definitions_program_fault(const char *program, const char *directory,
				      struct arena *arena);

#endif
