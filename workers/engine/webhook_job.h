/* SPDX-License-Identifier: Apache-2.0 */
/* Delivery of webhooks: a job of the type windlass.webhook is one signed POST. Loop thread. */
#ifndef WORKERS_ENGINE_WEBHOOK_JOB_H
#define WORKERS_ENGINE_WEBHOOK_JOB_H
#include "workers/engine/engine_impl.h"

struct http_answer;

void webhook_job_run(struct engine *engine, struct hand *hand);
/* What an answer means for the delivery. False: it says nothing of the receiver. */
bool webhook_job_judge(const struct hand *hand, const struct http_answer *answer,
		       struct task_outcome *outcome_r);

#endif
