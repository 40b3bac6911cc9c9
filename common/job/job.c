/* SPDX-License-Identifier: Apache-2.0 */
/* Names of a job's states, outcomes and priorities, both ways, and what may be a name. The words
 * are part of the API and of stored data: they are added to, never changed. */
#include "common/job/job.h"

#include <string.h>

#include "common/base/check.h"

static const char *const state_names[] = {
	[JOB_SCHEDULED] = "scheduled", [JOB_AVAILABLE] = "available", [JOB_QUEUED] = "queued",
	[JOB_RUNNING] = "running",     [JOB_RETRYABLE] = "retryable", [JOB_WAITING] = "waiting",
	[JOB_PARKED] = "parked",       [JOB_COMPLETED] = "completed", [JOB_DISCARDED] = "discarded",
	[JOB_CANCELLED] = "cancelled",
};

static const char *const outcome_names[] = {
	[OUTCOME_DONE] = "done",         [OUTCOME_RETRY] = "retry",
	[OUTCOME_CRASHED] = "crashed",   [OUTCOME_DISCARD] = "discard",
	[OUTCOME_SNOOZE] = "snooze",     [OUTCOME_CANCELLED] = "cancelled",
	[OUTCOME_RELEASED] = "released",
};

static const char *const priority_names[PRIORITY_COUNT] = {
	[PRIORITY_HIGH] = "high",
	[PRIORITY_NORMAL] = "normal",
	[PRIORITY_LOW] = "low",
};

static const char *name_of(const char *const *names, size_t count, unsigned value)
{
	CHECK(value < count && names[value] != NULL);
	return names[value];
}

/* Index of the name, or -1. */
static int find_name(const char *const *names, size_t count, const char *text)
{
	for (size_t i = 0; i < count; i++) {
		if (names[i] && strcmp(names[i], text) == 0)
			return (int)i;
	}
	return -1;
}

const char *job_state_name(enum job_state state)
{
	return name_of(state_names, ARRAY_LEN(state_names), (unsigned)state);
}

const char *job_outcome_name(enum job_outcome outcome)
{
	return name_of(outcome_names, ARRAY_LEN(outcome_names), (unsigned)outcome);
}

const char *job_priority_name(enum job_priority priority)
{
	return name_of(priority_names, ARRAY_LEN(priority_names), (unsigned)priority);
}

bool job_state_parse(const char *text, enum job_state *state_r)
{
	int i = find_name(state_names, ARRAY_LEN(state_names), text);

	if (i < 0)
		return false;
	*state_r = (enum job_state)i;
	return true;
}

bool job_priority_parse(const char *text, enum job_priority *priority_r)
{
	int i = find_name(priority_names, ARRAY_LEN(priority_names), text);

	if (i < 0)
		return false;
	*priority_r = (enum job_priority)i;
	return true;
}

static bool letter_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool job_name_valid(const char *text)
{
	size_t bytes = strnlen(text, JOB_TYPE_MAX + 1);

	if (bytes == 0 || bytes > JOB_TYPE_MAX || !letter_or_digit(text[0]))
		return false;
	for (size_t i = 1; i < bytes; i++) {
		if (!letter_or_digit(text[i]) && !strchr("._:-", text[i]))
			return false;
	}
	return true;
}

bool job_traceparent_valid(const char *text)
{
	static const char form[] = "00-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx";

	if (strlen(text) != sizeof(form) - 1)
		return false;
	for (size_t i = 0; form[i]; i++) {
		bool fits = form[i] == 'x' ? strchr("0123456789abcdef", text[i]) != NULL
					   : text[i] == form[i];

		if (!fits)
			return false;
	}
	return true;
}
