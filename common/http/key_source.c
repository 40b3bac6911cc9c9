/* SPDX-License-Identifier: Apache-2.0 */
/* See key_source.h. Whoever checks a token holds the read lock for as long as the check takes; the
 * thread takes the write lock only to change two pointers. */
#include "common/http/key_source.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/digest.h"
#include "common/base/fair_lock.h"
#include "common/base/log.h"
#include "common/http/client.h"
#include "common/http/server.h"

#define FETCH_TIMEOUT_MS 5000
#define FILE_EVERY_MS    INT64_C(5000)
#define EVERY_MS         INT64_C(300000) /* when the answer does not say */
#define EVERY_MIN_MS     INT64_C(60000)
#define EVERY_MAX_MS     INT64_C(3600000)
#define AWAY_EVERY_MS    INT64_C(30000)
#define NONE_EVERY_MS    INT64_C(2000) /* while there are no keys at all */

struct key_source {
	char *from, *ca_file;
	bool is_file;
	pthread_rwlock_t keys_lock; /* guards keys and version */
	struct jws_keys *keys;      /* or NULL */
	uint64_t version;
	pthread_mutex_t lock; /* guards what follows, up to the thread's own */
	pthread_cond_t wake;
	bool stopping, asked;
	int64_t next_asked_ms; /* monotonic: no look for unknown keys before it */
	pthread_t thread;
	/* the thread's own */
	uint8_t seen[SHA256_BYTES]; /* of the text that made the keys */
	char etag[128];
	bool was_away;
};

/* ---- one look */

static int take(struct key_source *source, const char *text, size_t bytes, struct error *err_r)
{
	uint8_t digest[SHA256_BYTES];
	struct jws_keys *fresh, *old;
	size_t skipped;

	digest_sha256(text, bytes, digest);
	if (source->keys && memcmp(digest, source->seen, sizeof(digest)) == 0)
		return 0;
	fresh = jws_keys_parse(text, bytes, &skipped, err_r);
	if (!fresh)
		return -1;
	log_line(LOG_INFO, "issuer-keys", LOG_S("from", source->from),
		 LOG_I("keys", (int64_t)jws_keys_count(fresh)),
		 LOG_I("left_out", (int64_t)skipped));
	pthread_rwlock_wrlock(&source->keys_lock);
	old = source->keys;
	source->keys = fresh;
	source->version++;
	pthread_rwlock_unlock(&source->keys_lock);
	jws_keys_free(&old);
	memcpy(source->seen, digest, sizeof(digest));
	return 0;
}

static int look_into_file(struct key_source *source, struct error *err_r)
{
	char *text = xmalloc(JWS_SET_BYTES_MAX + 1);
	int fd = open(source->from, O_RDONLY | O_CLOEXEC), rc;
	ssize_t n, bytes = 0;

	do {
		n = fd < 0 ? -1 : read(fd, text + bytes, (size_t)(JWS_SET_BYTES_MAX + 1 - bytes));
		bytes += n > 0 ? n : 0;
	} while (n > 0 && bytes <= JWS_SET_BYTES_MAX);
	rc = n < 0 ? error_set(err_r, ERROR_INVALID, "cannot read it: %s", strerror(errno))
		   : take(source, text, (size_t)bytes, err_r);
	if (fd >= 0)
		close(fd);
	free(text);
	return rc;
}

static int look_at_url(struct key_source *source, int64_t *next_ms_r, struct error *err_r)
{
	struct client_request request = {
		.method = "GET",
		.url = source->from,
		.timeout_ms = FETCH_TIMEOUT_MS,
		.answer_bytes_max = JWS_SET_BYTES_MAX,
		.ca_file = source->ca_file,
		.etag = source->keys ? source->etag : NULL,
	};
	struct client_answer answer;
	int rc = client_call(&request, &answer, err_r);

	if (rc == 0 && answer.status == 200)
		rc = take(source, answer.body.data, answer.body.len, err_r);
	else if (rc == 0 && !(answer.status == 304 && source->keys))
		rc = error_set(err_r, ERROR_UNAVAILABLE, "answered %d", answer.status);
	if (rc == 0) {
		if (answer.status == 200)
			memcpy(source->etag, answer.etag, sizeof(source->etag));
		*next_ms_r = answer.max_age_s < 0                     ? EVERY_MS
			     : answer.max_age_s > EVERY_MAX_MS / 1000 ? EVERY_MAX_MS
								      : answer.max_age_s * 1000;
		if (*next_ms_r < EVERY_MIN_MS)
			*next_ms_r = EVERY_MIN_MS;
	}
	strbuf_release(&answer.body);
	return rc;
}

/* Returns when to look again, from now. */
static int64_t look(struct key_source *source)
{
	int64_t next_ms = FILE_EVERY_MS;
	struct error err;
	int rc = source->is_file ? look_into_file(source, &err)
				 : look_at_url(source, &next_ms, &err);

	if (rc < 0 && !source->was_away)
		log_line(LOG_WARN, "issuer-keys-away", LOG_S("from", source->from),
			 LOG_S("error", err.message), LOG_S("kept", source->keys ? "yes" : "none"));
	if (rc == 0 && source->was_away)
		log_line(LOG_INFO, "issuer-keys-back", LOG_S("from", source->from));
	source->was_away = rc < 0;
	if (rc == 0 || source->is_file)
		return next_ms;
	return source->keys ? AWAY_EVERY_MS : NONE_EVERY_MS;
}

/* ---- the thread */

static void *key_source_run(void *source_)
{
	struct key_source *source = source_;
	int64_t next_ms = clock_mono_ms() + (source->keys ? FILE_EVERY_MS : 0);

	pthread_mutex_lock(&source->lock);
	while (!source->stopping) {
		struct timespec until = { .tv_sec = next_ms / 1000,
					  .tv_nsec = next_ms % 1000 * 1000000 };

		if (!source->asked && clock_mono_ms() < next_ms) {
			pthread_cond_timedwait(&source->wake, &source->lock, &until);
			continue;
		}
		source->asked = false;
		pthread_mutex_unlock(&source->lock);
		next_ms = look(source);
		next_ms += clock_mono_ms();
		pthread_mutex_lock(&source->lock);
	}
	pthread_mutex_unlock(&source->lock);
	return NULL;
}

void key_source_look(struct key_source *source)
{
	pthread_mutex_lock(&source->lock);
	source->asked = true;
	pthread_cond_signal(&source->wake);
	pthread_mutex_unlock(&source->lock);
}

void key_source_unknown(struct key_source *source)
{
	int64_t now_ms = clock_mono_ms();

	pthread_mutex_lock(&source->lock);
	if (now_ms >= source->next_asked_ms) {
		source->next_asked_ms = now_ms + KEY_SOURCE_ASKED_MS;
		source->asked = true;
		pthread_cond_signal(&source->wake);
	}
	pthread_mutex_unlock(&source->lock);
}

const struct jws_keys *key_source_lock(struct key_source *source, uint64_t *version_r)
{
	pthread_rwlock_rdlock(&source->keys_lock);
	*version_r = source->version;
	return source->keys;
}

void key_source_unlock(struct key_source *source)
{
	pthread_rwlock_unlock(&source->keys_lock);
}

/* ---- life */

/* "http://127.0.0.1:9/x": is that host this machine? Whoever has a name and a password in front of
 * it is not meant. */
static bool is_loopback_url(const char *url)
{
	const char *at = url + strlen("http://");
	size_t bytes = strcspn(at, "/?#");
	char host[256], address[256];
	int port;

	if (bytes >= sizeof(address) - 3 || memchr(at, '@', bytes))
		return false;
	memcpy(address, at, bytes);
	address[bytes] = 0;
	if (!strchr(address[0] == '[' ? address + strcspn(address, "]") : address, ':'))
		memcpy(address + bytes, ":80", 4);
	return server_split_address(address, host, sizeof(host), &port) && server_is_loopback(host);
}

static int check_from(const char *from, bool *is_file_r, struct error *err_r)
{
	*is_file_r = !strstr(from, "://");
	if (*is_file_r || strncmp(from, "https://", 8) == 0 ||
	    (strncmp(from, "http://", 7) == 0 && is_loopback_url(from)))
		return 0;
	return error_set(err_r, ERROR_INVALID,
			 "%s: expected https://…, http:// of this machine, or a file", from);
}

struct key_source *key_source_start(const char *from, const char *ca_file, struct error *err_r)
{
	struct key_source *source;
	pthread_condattr_t attr;
	bool is_file;

	if (check_from(from, &is_file, err_r) < 0)
		return NULL;
	source = xcalloc(1, sizeof(*source));
	source->from = xstrdup(from);
	source->ca_file = xstrdup(ca_file);
	source->is_file = is_file;
	fair_lock_init(&source->keys_lock);
	pthread_mutex_init(&source->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&source->wake, &attr);
	pthread_condattr_destroy(&attr);
	if (is_file && look_into_file(source, err_r) < 0) {
		error_wrap(err_r, "%s", from);
		source->stopping = true;
	}
	CHECK(pthread_create(&source->thread, NULL, key_source_run, source) == 0);
	if (source->stopping)
		key_source_stop(&source);
	return source;
}

void key_source_stop(struct key_source **source_)
{
	struct key_source *source = *source_;

	*source_ = NULL;
	if (!source)
		return;
	pthread_mutex_lock(&source->lock);
	source->stopping = true;
	pthread_cond_signal(&source->wake);
	pthread_mutex_unlock(&source->lock);
	pthread_join(source->thread, NULL);
	jws_keys_free(&source->keys);
	pthread_cond_destroy(&source->wake);
	pthread_mutex_destroy(&source->lock);
	pthread_rwlock_destroy(&source->keys_lock);
	free(source->from);
	free(source->ca_file);
	free(source);
}
