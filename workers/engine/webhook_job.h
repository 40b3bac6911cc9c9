/* SPDX-License-Identifier: Apache-2.0 */
/* Delivery of webhooks: a job of the type windlass.webhook is one signed POST. Loop thread. */
#ifndef WORKERS_ENGINE_WEBHOOK_JOB_H
#define WORKERS_ENGINE_WEBHOOK_JOB_H
#include "workers/engine/engine_impl.h"

void webhook_job_run(struct engine *engine, struct hand *hand);

#endif
