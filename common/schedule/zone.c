/* SPDX-License-Identifier: Apache-2.0 */
/* TZif: a table of changes, and a rule for the time after it. Reads the 64-bit part alone: files
 * without one are older than 2006. Leap seconds ("right/" zones) are refused: Unix time has none.
 */
#include "common/schedule/zone.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/schedule/civil.h"
#include "common/schedule/zone_rule.h"

#define ZONE_DIRECTORY  "/usr/share/zoneinfo"
#define ZONE_BYTES_MAX  (256 * 1024)
#define ZONE_OFFSET_MAX (26 * INT64_C(3600)) /* wall clocks are less than that from UTC */
#define HEADER_BYTES    44
#define CHANGES_MAX     4000
#define SPANS_EXAMINED  64

struct zone {
	char name[ZONE_NAME_MAX + 1];
	struct zone *next;
	size_t count;
	struct zone_change {
		int64_t at_s, offset_s;
	} * changes;
	int64_t first_offset_s; /* before the first change */
	bool ruled;
	struct zone_rule rule; /* after the last one */
};

struct zones {
	struct zone *first;
};

/* ---- reading */

struct cursor {
	const uint8_t *at, *end;
	bool short_of; /* something was asked for that is not there */
};

static const uint8_t *take(struct cursor *cursor, size_t bytes)
{
	static const uint8_t none[HEADER_BYTES];
	const uint8_t *at = cursor->at;

	if ((size_t)(cursor->end - at) < bytes) {
		cursor->short_of = true;
		return none;
	}
	cursor->at += bytes;
	return at;
}

static int64_t number(const uint8_t *at, size_t bytes)
{
	uint64_t n = at[0] & 0x80 ? UINT64_MAX : 0;

	for (size_t i = 0; i < bytes; i++)
		n = n << 8 | at[i];
	return (int64_t)n;
}

struct header {
	int version;
	size_t utc_flags, standard_flags, leaps, changes, types, name_bytes;
};

static bool take_header(struct cursor *cursor, struct header *header_r)
{
	const uint8_t *at = take(cursor, HEADER_BYTES);
	size_t n[6];

	if (cursor->short_of || memcmp(at, "TZif", 4) != 0)
		return false;
	for (int i = 0; i < 6; i++) {
		n[i] = (size_t)number(at + 20 + 4 * i, 4);
		if (n[i] > ZONE_BYTES_MAX)
			return false;
	}
	*header_r = (struct header){ at[4] ? at[4] - '0' : 1, n[0], n[1], n[2], n[3], n[4], n[5] };
	return true;
}

static size_t body_bytes(const struct header *h, size_t time_bytes)
{
	return h->changes * (time_bytes + 1) + h->types * 6 + h->name_bytes +
	       h->leaps * (time_bytes + 4) + h->standard_flags + h->utc_flags;
}

static bool take_table(struct cursor *cursor, const struct header *h, struct zone *zone)
{
	const uint8_t *times = cursor->at, *kinds = times + h->changes * 8,
		      *types = kinds + h->changes;

	if (h->leaps || !h->types || h->changes > CHANGES_MAX ||
	    (size_t)(cursor->end - cursor->at) < body_bytes(h, 8))
		return false;
	zone->changes = xcalloc(h->changes + 1, sizeof(*zone->changes));
	zone->count = h->changes;
	zone->first_offset_s = number(types, 4);
	for (size_t i = 0; i < h->changes; i++) {
		struct zone_change *change = &zone->changes[i];

		if (kinds[i] >= h->types)
			return false;
		change->at_s = number(times + 8 * i, 8);
		change->offset_s = number(types + 6 * (size_t)kinds[i], 4);
		if (llabs(change->offset_s) >= ZONE_OFFSET_MAX ||
		    (i && change->at_s <= zone->changes[i - 1].at_s))
			return false;
	}
	take(cursor, body_bytes(h, 8));
	return llabs(zone->first_offset_s) < ZONE_OFFSET_MAX;
}

/* "\nTZ\n"; empty: the last offset stays. */
static bool take_rule(struct cursor *cursor, struct zone *zone)
{
	size_t bytes = (size_t)(cursor->end - cursor->at);
	const uint8_t *end = bytes ? memchr(cursor->at + 1, '\n', bytes - 1) : NULL;
	char text[256];

	if (!end || *cursor->at != '\n' || (size_t)(end - cursor->at) > sizeof(text))
		return false;
	bytes = (size_t)(end - cursor->at) - 1;
	memcpy(text, cursor->at + 1, bytes);
	text[bytes] = '\0';
	zone->ruled = bytes > 0;
	return !bytes || zone_rule_parse(text, &zone->rule);
}

struct zone *zone_parse(const void *bytes, size_t count, struct error *err_r)
{
	struct cursor cursor = { bytes, (const uint8_t *)bytes + count, false };
	struct zone *zone = xcalloc(1, sizeof(*zone));
	struct header header;

	if (take_header(&cursor, &header) && header.version >= 2) {
		take(&cursor, body_bytes(&header, 4));
		if (!cursor.short_of && take_header(&cursor, &header) &&
		    take_table(&cursor, &header, zone) && take_rule(&cursor, zone))
			return zone;
	}
	zone_free(&zone);
	error_set(err_r, ERROR_INVALID, "not a time zone file of version 2 or later");
	return NULL;
}

void zone_free(struct zone **zone)
{
	struct zone *gone = *zone;

	*zone = NULL;
	if (!gone)
		return;
	free(gone->changes);
	free(gone);
}

/* ---- by name */

/* Names are paths in the data's folder, and stay there. */
static bool name_valid(const char *name)
{
	size_t bytes = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789_+-/");

	return bytes && bytes <= ZONE_NAME_MAX && !name[bytes] && name[0] != '/' &&
	       name[0] != '-' && name[bytes - 1] != '/' && !strstr(name, "//") &&
	       strncmp(name, "right/", 6) != 0;
}

/* -1: errno says why. */
static ssize_t read_file(const char *name, char *bytes, size_t room)
{
	char path[sizeof(ZONE_DIRECTORY) + 1 + ZONE_NAME_MAX];
	size_t length = strlen(name);
	struct stat about;
	ssize_t count = -1;
	int fd;

	memcpy(path, ZONE_DIRECTORY "/", sizeof(ZONE_DIRECTORY));
	memcpy(path + sizeof(ZONE_DIRECTORY), name, length + 1);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	if (fstat(fd, &about) == 0 && S_ISREG(about.st_mode))
		count = read(fd, bytes, room);
	else
		errno = ENOENT;
	close(fd);
	return count;
}

static struct zone *load(const char *name, struct error *err_r)
{
	char *bytes;
	ssize_t count;
	struct zone *zone = NULL;

	if (!name_valid(name)) {
		error_set(err_r, ERROR_INVALID, "unknown time zone");
		return NULL;
	}
	bytes = xmalloc(ZONE_BYTES_MAX);
	count = read_file(name, bytes, ZONE_BYTES_MAX);
	if (count >= 0)
		zone = zone_parse(bytes, (size_t)count, err_r);
	else if (errno != ENOENT && errno != ENOTDIR)
		error_set(err_r, ERROR_UNAVAILABLE, "cannot read " ZONE_DIRECTORY "/%s: %s", name,
			  strerror(errno));
	else if (access(ZONE_DIRECTORY, R_OK) != 0)
		error_set(err_r, ERROR_UNAVAILABLE,
			  "this machine has no time zone data in " ZONE_DIRECTORY
			  "; install tzdata, or use UTC");
	else
		error_set(err_r, ERROR_INVALID,
			  "unknown time zone; expected a name like Europe/Paris");
	free(bytes);
	return zone;
}

struct zones *zones_new(void)
{
	struct zones *zones = xcalloc(1, sizeof(*zones));

	zones->first = xcalloc(1, sizeof(*zones->first));
	memcpy(zones->first->name, "UTC", 4);
	return zones;
}

void zones_free(struct zones **zones)
{
	struct zones *gone = *zones;

	*zones = NULL;
	if (!gone)
		return;
	while (gone->first) {
		struct zone *zone = gone->first;

		gone->first = zone->next;
		zone_free(&zone);
	}
	free(gone);
}

const struct zone *zones_find(struct zones *zones, const char *name, struct error *err_r)
{
	struct zone *zone;

	for (zone = zones->first; zone; zone = zone->next) {
		if (strcmp(zone->name, name) == 0)
			return zone;
	}
	zone = load(name, err_r);
	if (!zone)
		return NULL;
	memcpy(zone->name, name, strlen(name) + 1);
	/* UTC stays the first */
	zone->next = zones->first->next;
	zones->first->next = zone;
	return zone;
}

/* ---- asking */

/* After the table: between two changes of the rule. `last`, where the table ends, bounds it. */
static void span_of_rule(const struct zone *zone, int64_t unix_s, const struct zone_change *last,
			 struct zone_span *span_r)
{
	const struct zone_rule *rule = &zone->rule;
	int year = civil_from_days(civil_day_of(unix_s)).year;

	*span_r = (struct zone_span){ INT64_MIN, INT64_MAX, rule->standard_s };
	if (last)
		*span_r = (struct zone_span){ last->at_s, INT64_MAX, last->offset_s };
	if (!rule->changes)
		return;
	for (int y = year - 1; y <= year + 1; y++) {
		const struct zone_change changes[] = {
			{ zone_rule_to_summer(rule, y), rule->summer_s },
			{ zone_rule_to_standard(rule, y), rule->standard_s },
		};
		for (int i = 0; i < 2; i++) {
			if (changes[i].at_s > unix_s) {
				if (changes[i].at_s < span_r->end_s)
					span_r->end_s = changes[i].at_s;
			} else if (changes[i].at_s >= span_r->start_s) {
				span_r->start_s = changes[i].at_s;
				span_r->offset_s = changes[i].offset_s;
			}
		}
	}
}

void zone_span_at(const struct zone *zone, int64_t unix_s, struct zone_span *span_r)
{
	size_t low = 0, high = zone->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (zone->changes[middle].at_s <= unix_s)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == zone->count && zone->ruled) {
		span_of_rule(zone, unix_s, low ? &zone->changes[low - 1] : NULL, span_r);
		return;
	}
	*span_r = (struct zone_span){
		.start_s = low ? zone->changes[low - 1].at_s : INT64_MIN,
		.end_s = low < zone->count ? zone->changes[low].at_s : INT64_MAX,
		.offset_s = low ? zone->changes[low - 1].offset_s : zone->first_offset_s,
	};
}

int64_t zone_moment(const struct zone *zone, int64_t wall_s, bool *exists_r)
{
	struct zone_span span;
	bool ignored;

	exists_r = exists_r ? exists_r : &ignored;
	*exists_r = true;
	zone_span_at(zone, wall_s - ZONE_OFFSET_MAX, &span);
	for (int i = 0; i < SPANS_EXAMINED; i++) {
		if (span.start_s != INT64_MIN && wall_s < span.start_s + span.offset_s) {
			*exists_r = false;
			return span.start_s;
		}
		if (span.end_s == INT64_MAX || wall_s < span.end_s + span.offset_s)
			return wall_s - span.offset_s;
		zone_span_at(zone, span.end_s, &span);
	}
	return wall_s - span.offset_s;
}
