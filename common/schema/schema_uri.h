/* SPDX-License-Identifier: Apache-2.0 */
/* Names of schemas: references resolved against their base (RFC 3986, section 5). Nothing is
 * fetched and nothing is normalised beyond that. */
#ifndef COMMON_SCHEMA_SCHEMA_URI_H
#define COMMON_SCHEMA_SCHEMA_URI_H
#include "common/base/arena.h"

/* The reference as seen from `base`, which may be "". Both are without fragment, or it is cut. */
const char *schema_uri_resolve(const char *base, const char *reference, struct arena *arena);
/* What stands behind "#", percent escapes undone; "" without one. NULL: an escape is wrong. */
const char *schema_uri_fragment(const char *reference, struct arena *arena);

#endif
