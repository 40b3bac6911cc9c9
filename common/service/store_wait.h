/* SPDX-License-Identifier: Apache-2.0 */
/* A role that starts before its store waits for it, and can be told to stop meanwhile. */
#ifndef COMMON_SERVICE_STORE_WAIT_H
#define COMMON_SERVICE_STORE_WAIT_H
#include "common/base/error.h"
#include "common/service/service.h"

typedef int store_wait_fn(void *ctx, struct error *err_r);

/* Repeats a step of preparation until the store takes it; says once that it waits. 0; -1: it is
 * hopeless (*err_r says why), or the process was told to stop (*err_r is clear). */
int store_wait(struct service *service, store_wait_fn *step, void *ctx,
	       struct error *err_r) must_check;

#endif
