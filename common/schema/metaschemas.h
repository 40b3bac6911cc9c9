/* SPDX-License-Identifier: Apache-2.0 */
/* The metaschemas of both drafts, built into the binary by common/schema/embed from a package that
 * carries them as json-schema.org publishes them. */
#ifndef COMMON_SCHEMA_METASCHEMAS_H
#define COMMON_SCHEMA_METASCHEMAS_H

struct metaschema {
	const char *uri; /* without a fragment; NULL ends the table */
	const char *text;
};

extern const struct metaschema metaschemas[];

#endif
