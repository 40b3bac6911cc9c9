/* SPDX-License-Identifier: Apache-2.0 */
/* See admit.h. */
#include "producers/gateway/admit.h"

#include "common/base/clock.h"
#include "producers/gateway/access.h"

static void refuse(enum access_verdict verdict, const char *why, struct admit_refusal *refusal_r)
{
	*refusal_r = (struct admit_refusal){ .problem = { .status = 401 }, .challenge = "Bearer" };
	if (verdict == ACCESS_AWAY) {
		refusal_r->problem.status = 503;
		refusal_r->problem.slug = "issuer-unavailable";
		refusal_r->problem.detail = "the keys of the tokens' issuer are not known yet";
		refusal_r->challenge = NULL;
		refusal_r->retry_after_s = 2;
	} else if (verdict == ACCESS_BAD_TOKEN) {
		refusal_r->problem.slug = "bad-token";
		refusal_r->problem.detail = why;
		refusal_r->challenge = "Bearer error=\"invalid_token\"";
	} else {
		refusal_r->problem.slug = "no-key";
		refusal_r->problem.detail =
			"an API key is needed: Authorization: Bearer wl_<id>_<secret>";
	}
}

bool admit(struct gateway *gateway, const char *authorization, const struct caller **caller_r,
	   struct admit_refusal *refusal_r)
{
	enum access_verdict verdict;
	const char *why;

	*caller_r = caller_anybody();
	if (access_open(gateway->access))
		return true;
	verdict = access_find(gateway->access, authorization, clock_wall_ms(), caller_r, &why);
	if (verdict == ACCESS_GRANTED)
		return true;
	refuse(verdict, why, refusal_r);
	return false;
}
