/* SPDX-License-Identifier: Apache-2.0 */
/* A module host's line to its engine: whole lines in, a buffer of lines out. Used by the host's
 * loop and, while a handler runs, by the wl_ functions that ask something. One thread. */
#ifndef WORKERS_HANDLERS_HOST_LINK_H
#define WORKERS_HANDLERS_HOST_LINK_H
#include <stdbool.h>
#include <stdint.h>

#include "common/base/strbuf.h"
#include "common/base/uuid.h"
#include "common/json/json_text.h"

struct host_link {
	int in_fd, out_fd;
	struct strbuf in; /* received; lines that were dealt with out of turn are blanked */
	size_t at;        /* of in: the next line */
	size_t scanned;   /* of in: looked through for cancels and answers */
	struct strbuf out;
	int64_t out_since_ns; /* since when out is not empty */
	bool ended;           /* EOF: the engine wants us to finish, or is gone */
};

/* What came for a running job out of turn. */
struct host_note {
	bool cancel;           /* a cancel line, else an answer */
	struct json_slice job; /* the id's text, in quotes */
	int64_t number;        /* answer */
	struct json_slice line;
};

void host_link_init(struct host_link *link, int in_fd, int out_fd);
void host_link_release(struct host_link *link);
/* Is a whole line here, without reading? */
bool host_link_has_line(const struct host_link *link);
/* The next line, without its end; it stays where it is until the next call. Writes what is buffered
 * before it waits. 1, or 0 at the end of the input. */
int host_link_line(struct host_link *link, struct json_slice *line_r);
/* Appended to link->out by the caller; this notes the time. */
void host_link_added(struct host_link *link, int64_t now_ns);
/* Writes everything, waiting as long as it takes. False: the engine is gone. */
bool host_link_flush(struct host_link *link);
/* Reads what is there (with wait: until there is something). False when nothing came. */
bool host_link_pump(struct host_link *link, bool wait);
/* The next cancel or answer among the lines that have come, taken out of them; job lines stay for
 * later. 1, or 0: none. The note's slices stay until the next pump. */
int host_link_note(struct host_link *link, struct host_note *note_r);

#endif
