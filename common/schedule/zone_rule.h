/* SPDX-License-Identifier: Apache-2.0 */
/* The rule at the end of a TZif file, for all years after its table: "CET-1CEST,M3.5.0,M10.5.0/3",
 * the TZ variable of POSIX with the extensions of RFC 8536. For zone.c only. */
#ifndef COMMON_SCHEDULE_ZONE_RULE_H
#define COMMON_SCHEDULE_ZONE_RULE_H
#include <stdbool.h>
#include <stdint.h>

struct zone_rule_day {
	char kind;             /* 'J': 1..365 without leap days, '0': 0..365, 'M' */
	int day;               /* J, 0 */
	int month, week, wday; /* M */
	int64_t time_s;        /* of the wall clock before the change */
};

struct zone_rule {
	bool changes; /* there are two offsets in a year */
	int64_t standard_s, summer_s;
	struct zone_rule_day to_summer, to_standard;
};

bool zone_rule_parse(const char *text, struct zone_rule *rule_r);
/* Unix times of the changes of one year. */
int64_t zone_rule_to_summer(const struct zone_rule *rule, int year);
int64_t zone_rule_to_standard(const struct zone_rule *rule, int year);

#endif
