/* SPDX-License-Identifier: Apache-2.0 */
/* Inner requests through the real front, store and waiters: the answers are those of REST, a wait
 * ends with its job or with its client, and many threads may ask at once. */
#include "tests/integration/store_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/store/registry.h"
#include "producers/gateway/access.h"
#include "producers/gateway/inner.h"
#include "producers/gateway/limiter.h"
#include "producers/gateway/origin.h"
#include "producers/gateway/readers.h"
#include "producers/gateway/waiters.h"
#include "producers/submit/submitter.h"

#define KEY      "wl_app_abcdefghijklmnopqrstuvwxyz012345"
#define KEY_HASH "de742c4b7c6a3da17bd46bc905b8632e8ac30c4ae8008ad41fa698a3d1a0b856"

static const char yaml[] = "jobs:\n"
			   "  a: {exec: [sh], queue: q, payload: {required: [who]}}\n";

struct scene {
	struct gateway gateway;
	struct settings settings;
};

/* One asked request and the thread that waits for it. */
struct asked {
	struct inner_request request;
	pthread_mutex_t lock;
	pthread_cond_t wakes;
	bool done;
};

static struct scene *scene_new(struct fixture *fx, const char *keys)
{
	struct scene *scene = xcalloc(1, sizeof(*scene));
	struct gateway *gateway = &scene->gateway;
	struct submitter_options submitter = { .database_url = fx->url, .queue_max = 1000 };

	setenv("WINDLASS_API_KEYS", keys, 1);
	assert_int_equal(settings_load(&scene->settings, stderr), 0);
	gateway->settings = &scene->settings;
	gateway->metrics = metrics_open("test");
	pthread_mutex_init(&gateway->defs_lock, NULL);
	gateway->defs = definitions_parse(yaml, sizeof(yaml) - 1, "jobs.yaml", stderr);
	assert_non_null(gateway->defs);
	check_store(fx, registry_sync(fx->store, gateway->defs, &fx->error));
	gateway->access = access_new(gateway->settings, &fx->error);
	assert_non_null(gateway->access);
	gateway->limiter = limiter_new();
	gateway->watch.count = 1;
	gateway->origins = origin_list_parse("", &fx->error);
	gateway->bell = bell_open(fx->url, BELL_ENDED, &fx->error);
	assert_non_null(gateway->bell);
	submitter.metrics = gateway->metrics;
	submitter.bell = gateway->bell;
	gateway->submitter = submitter_start(&submitter);
	gateway->readers = readers_start(fx->url, 1);
	gateway->waiters =
		waiters_start(fx->url, gateway->bell, gateway->limiter, gateway->metrics);
	gateway->inner = inner_start(gateway);
	return scene;
}

static void scene_free(struct scene *scene)
{
	struct gateway *gateway = &scene->gateway;

	while (inner_pending(gateway->inner) > 0) /* the last done() may be returning */
		sched_yield();
	submitter_stop(&gateway->submitter);
	waiters_stop(&gateway->waiters);
	readers_stop(&gateway->readers);
	inner_stop(&gateway->inner);
	bell_close(&gateway->bell);
	access_free(&gateway->access);
	limiter_free(&gateway->limiter);
	origin_list_free(&gateway->origins);
	definitions_unref(&gateway->defs);
	metrics_close(&gateway->metrics);
	pthread_mutex_destroy(&gateway->defs_lock);
	settings_release(&scene->settings);
	free(scene);
}

static void on_done(struct inner_request *request)
{
	struct asked *asked = request->owner;

	pthread_mutex_lock(&asked->lock);
	asked->done = true;
	pthread_cond_signal(&asked->wakes);
	pthread_mutex_unlock(&asked->lock);
}

static struct asked *asked_new(const char *method, const char *target, const char *body)
{
	struct asked *asked = xcalloc(1, sizeof(*asked));

	pthread_mutex_init(&asked->lock, NULL);
	pthread_cond_init(&asked->wakes, NULL);
	asked->request.method = method;
	asked->request.target = target;
	asked->request.body = body;
	asked->request.body_bytes = body ? strlen(body) : 0;
	asked->request.done = on_done;
	asked->request.owner = asked;
	return asked;
}

static void wait_done(struct asked *asked)
{
	pthread_mutex_lock(&asked->lock);
	while (!asked->done)
		pthread_cond_wait(&asked->wakes, &asked->lock);
	pthread_mutex_unlock(&asked->lock);
}

static void ask(struct scene *scene, struct asked *asked)
{
	assert_true(inner_ask(scene->gateway.inner, &asked->request));
	wait_done(asked);
}

static void asked_free(struct asked *asked)
{
	inner_request_release(&asked->request);
	pthread_cond_destroy(&asked->wakes);
	pthread_mutex_destroy(&asked->lock);
	free(asked);
}

static void expect(struct scene *scene, struct asked *asked, int status, const char *part)
{
	ask(scene, asked);
	if (asked->request.status != status || !strstr(asked->request.answer, part))
		fail_msg("%s %s: got %d %s, want %d with %s", asked->request.method,
			 asked->request.target, asked->request.status, asked->request.answer,
			 status, part);
	asked_free(asked);
}

/* What is wrong is said as REST says it. */
static void answers_like_rest(struct fixture *fx)
{
	static const struct {
		const char *method, *target, *body;
		int status;
		const char *part;
	} cases[] = {
		{ "POST", "/v1/jobs", "{\"type\":\"a\",\"payload\":{\"who\":1}}", 202,
		  "watch_token" },
		{ "POST", "/v1/jobs", "{\"type\":\"a\",\"payload\":{}}", 422, "payload-refused" },
		{ "POST", "/v1/jobs", "{\"type\":\"x\",\"payload\":{}}", 422, "unknown-type" },
		{ "POST", "/v1/jobs", "{\"type\":", 400, "malformed-json" },
		{ "POST", "/v1/jobs", NULL, 415, "wrong-content-type" },
		{ "POST", "/v1/jobs?wait=x", "{\"type\":\"a\",\"payload\":{\"who\":1}}", 400,
		  "bad-parameter" },
		{ "GET", "/v1/jobs", NULL, 200, "\"items\"" },
		{ "GET", "/v1/jobs/nonsense", NULL, 404, "unknown-job" },
		{ "GET", "/v1/jobs/0192b0a0-0000-7000-8000-000000000000?wait=1s", NULL, 410,
		  "past-retention" },
		{ "GET", "/v2", NULL, 404, "unknown-path" },
		{ "DELETE", "/v1/jobs", NULL, 405, "wrong-method" },
		{ "GET", "no slash", NULL, 400, "about:blank" },
		{ "GET", "/v1/jobs?limit=%ff", NULL, 400, "about:blank" },
	};
	struct scene *scene = scene_new(fx, "");

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		expect(scene, asked_new(cases[i].method, cases[i].target, cases[i].body),
		       cases[i].status, cases[i].part);
	scene_free(scene);
}

static void bounds_bodies_and_targets(struct fixture *fx)
{
	struct scene *scene = scene_new(fx, "");
	size_t bytes = (size_t)scene->settings.body_bytes_max + 1;
	char *body = xmalloc(bytes + 1), *target = xmalloc(9001);

	memset(body, ' ', bytes);
	body[bytes] = 0;
	memset(target, '/', 9000);
	target[9000] = 0;
	expect(scene, asked_new("POST", "/v1/jobs", body), 413, "body-too-large");
	expect(scene, asked_new("GET", target, NULL), 414, "too long");
	struct asked *odd = asked_new("GET", "/v1/jobs", NULL);
	odd->request.prefer = "wait=1\r\nX: y";
	expect(scene, odd, 400, "malformed");
	free(body);
	free(target);
	scene_free(scene);
}

static void asks_for_keys(struct fixture *fx)
{
	struct scene *scene =
		scene_new(fx, "id=app hash=" KEY_HASH " scopes=read rate=1/s burst=1");
	struct asked *asked;

	expect(scene, asked_new("GET", "/v1/jobs", NULL), 401, "no-key");
	asked = asked_new("POST", "/v1/jobs", "{}");
	asked->request.authorization = "Bearer " KEY;
	expect(scene, asked, 403, "not-in-scope");
	asked = asked_new("GET", "/v1/jobs", NULL);
	asked->request.authorization = "Bearer " KEY;
	ask(scene, asked);
	assert_int_equal(asked->request.status, 429);
	assert_true(asked->request.retry_after_s >= 1);
	asked_free(asked);
	scene_free(scene);
}

static void replays(struct fixture *fx)
{
	struct scene *scene = scene_new(fx, "");
	char answers[2][1024];

	for (int i = 0; i < 2; i++) {
		struct asked *asked =
			asked_new("POST", "/v1/jobs", "{\"type\":\"a\",\"payload\":{\"who\":1}}");
		asked->request.idempotency_key = "same";
		ask(scene, asked);
		assert_int_equal(asked->request.status, 202);
		assert_int_equal(asked->request.replayed, i);
		/* the id is what is the same: tokens differ by the second */
		snprintf(answers[i], sizeof(answers[i]), "%.44s", asked->request.answer);
		asked_free(asked);
	}
	assert_string_equal(answers[0], answers[1]);
	scene_free(scene);
}

static struct asked *waiting_for(struct scene *scene, struct fixture *fx)
{
	struct accepted_job accepted = accept_job(fx, a_job("a"));
	struct asked *asked;
	char id[UUID_TEXT];

	asked = asked_new(
		"GET",
		arena_printf(fx->arena, "/v1/jobs/%s?wait=300s", uuid_format(&accepted.id, id)),
		NULL);
	assert_true(inner_ask(scene->gateway.inner, &asked->request));
	while (waiters_count(scene->gateway.waiters) == 0)
		pause_ms(5);
	return asked;
}

static void waits_end(struct fixture *fx)
{
	struct scene *scene = scene_new(fx, "");
	struct asked *asked = waiting_for(scene, fx);

	finish_job(fx, claim_one(fx), JOB_COMPLETED);
	wait_done(asked);
	assert_int_equal(asked->request.status, 200);
	assert_non_null(strstr(asked->request.answer, "\"completed\""));
	asked_free(asked);

	asked = waiting_for(scene, fx);
	inner_cancel(&asked->request);
	wait_done(asked);
	assert_int_equal(asked->request.status, 200);
	asked_free(asked);

	asked = asked_new("GET", "/v1/jobs", NULL);
	inner_cancel(&asked->request);
	ask(scene, asked);
	assert_int_equal(asked->request.status, 499);
	asked_free(asked);
	scene_free(scene);
}

static void *ask_many(void *scene)
{
	for (int i = 0; i < 200; i++)
		expect(scene,
		       asked_new("POST", "/v1/jobs", "{\"type\":\"a\",\"payload\":{\"who\":1}}"),
		       202, "id");
	return NULL;
}

static void serves_many_threads(struct fixture *fx)
{
	struct scene *scene = scene_new(fx, "");
	pthread_t threads[4];
	struct strbuf page;

	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ask_many, scene), 0);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		pthread_join(threads[i], NULL);
	strbuf_init(&page);
	metrics_render(scene->gateway.metrics, &page);
	assert_non_null(strstr(page.data,
			       "windlass_door_requests_total{door=\"ws\",status=\"202\"} 800\n"));
	strbuf_release(&page);
	scene_free(scene);
}

static void escapes(struct fixture *fx)
{
	struct strbuf target;

	(void)fx;
	strbuf_init(&target);
	inner_escape(&target, "a/b?c&d=e f\xc3\xa9~");
	assert_string_equal(target.data, "a%2Fb%3Fc%26d%3De%20f%C3%A9~");
	strbuf_release(&target);
}

int main(void)
{
	static const struct store_case cases[] = {
		{ "answers_like_rest", answers_like_rest },
		{ "bounds_bodies_and_targets", bounds_bodies_and_targets },
		{ "asks_for_keys", asks_for_keys },
		{ "replays", replays },
		{ "waits_end", waits_end },
		{ "serves_many_threads", serves_many_threads },
		{ "escapes", escapes },
	};

	return sqlite_cases_run("inner", cases, ARRAY_LEN(cases));
}
