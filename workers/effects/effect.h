/* SPDX-License-Identifier: Apache-2.0 */
/* One completion on its way through the effects thread: an attempt's end, a step, or an adoption.
 * Made by the engine's loop, lent to the effects thread until it comes back with its fate. */
#ifndef WORKERS_EFFECTS_EFFECT_H
#define WORKERS_EFFECTS_EFFECT_H
#include <stdbool.h>
#include <stdint.h>

#include "common/base/list.h"
#include "common/store/completion.h"

struct effect {
	struct list link;              /* of whoever has it */
	struct completion *completion; /* in the job's arena; fate 0: not decided yet */
	bool twin;                     /* another effect of the same job may be here as well */
	int contentions;               /* rounds in which its rows were fought for in vain */
	int64_t committed_ns;          /* monotonic; when its fate was known */
	char *step_value; /* STEP: stored_step_value, to be freed by the engine; or NULL */
	/* ADOPT: the completion's job, which gets its new lease when that is committed: the loop
	 * does not look at `batch` and `source` meanwhile. Else NULL. */
	struct claimed_job *adopts;
};

#endif
