/* SPDX-License-Identifier: Apache-2.0 */
/* What the gateway serves to browsers as files: /client.js, which is in the program, and the files
 * of the folder that WINDLASS_PAGES names. They are read once, at the start, and looked up by their
 * whole name, so no request ever touches the file system. */
#ifndef PRODUCERS_GATEWAY_PAGES_H
#define PRODUCERS_GATEWAY_PAGES_H
#include <stdbool.h>

#include "common/base/error.h"

struct pages;

/* folder "": only the client. NULL: the folder, or a file in it, is not as it should be. */
struct pages *pages_open(const char *folder, struct error *err_r);
void pages_free(struct pages **pages); /* NULL-safe */
/* Does an If-None-Match field name this tag ("…" with its quotes)? */
bool pages_tag_matches(const char *field, const char *etag);

#endif
