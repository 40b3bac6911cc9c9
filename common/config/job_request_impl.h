/* SPDX-License-Identifier: Apache-2.0 */
/* What the two files of job_request.h share: a request that is being read, and its members that
 * have to do with other jobs (job_request_after.c). */
#ifndef COMMON_CONFIG_JOB_REQUEST_IMPL_H
#define COMMON_CONFIG_JOB_REQUEST_IMPL_H
#include "common/base/check.h"
#include "common/config/job_request.h"

#define DOOR      1u /* of a request from outside */
#define FOLLOW_UP 2u /* of the options of a follow-up */
#define THEN      4u /* of a job of `then` */

struct request {
	const struct job_request_context *ctx;
	const struct job_type *type;
	struct arena *arena;
	struct new_job *job;
	struct job_request_error *err;
	unsigned where;               /* which members it may have */
	size_t depth;                 /* of `then` in `then` */
	enum edge_failure on_failure; /* of a member of `then` */
};

typedef int member_fn(struct request *request, const char *pointer, const json_t *value);

/* ---- job_request.c */
/* Fills in the request's error; -1. */
int request_refuse_at(struct request *request, const char *pointer, const char *fmt, ...)
	printf_like(3, 4);
int request_read_text(struct request *request, struct json_slice text) must_check;

/* ---- job_request_after.c */
member_fn request_on_after, request_on_failure;
/* The payload will be another one when the job may run; its worker checks that. */
int request_check_references(struct request *request) must_check;
/* The id of the job is there already: those of `then` come from it. */
int request_read_then(struct request *request, struct json_slice text) must_check;

#endif
