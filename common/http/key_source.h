/* SPDX-License-Identifier: Apache-2.0 */
/* Where the keys of an issuer come from, a URL or a file, and a thread that looks for newer ones:
 * as often as the answer's max-age says (within bounds), and when a token names a key that is not
 * there, though seldom. While the source is away or broken, the keys that are there stay. */
#ifndef COMMON_HTTP_KEY_SOURCE_H
#define COMMON_HTTP_KEY_SOURCE_H
#include <stdint.h>

#include "common/http/jws.h"

#define KEY_SOURCE_ASKED_MS INT64_C(30000) /* between two looks because of unknown keys */

struct key_source;

/* from: https://…, http://… of a loopback address, or the path of a file, which is read at once.
 * NULL: ERROR_INVALID (another URL, or the file's fault). ca_file "": the system's. */
struct key_source *key_source_start(const char *from, const char *ca_file, struct error *err_r);
void key_source_stop(
	struct key_source **source); /* NULL-safe; waits for a look that is on its way */
/* The keys, until key_source_unlock; NULL: there were none yet. *version_r counts the sets. */
const struct jws_keys *key_source_lock(struct key_source *source, uint64_t *version_r);
void key_source_unlock(struct key_source *source);
/* A token names a key that is not among them: look, if the last such look was long enough ago. Does
 * not wait. */
void key_source_unknown(struct key_source *source);
void key_source_look(struct key_source *source); /* look now, as an operator asks; does not wait */

#endif
