/* SPDX-License-Identifier: Apache-2.0 */
/* What ThreadSanitizer does not know, by way of what it knows; linked into its builds only. C11
 * threads, which librdkafka uses, become POSIX threads (a thread that glibc's thrd_create starts
 * has no state in the sanitizer and dies in malloc; glibc's types of both are the same), and
 * pthread_clockjoin_np tries until it is time. */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>
#include <time.h>

struct start {
	thrd_start_t run;
	void *arg;
};

static void *run(void *ctx)
{
	struct start start = *(struct start *)ctx;

	free(ctx);
	return (void *)(intptr_t)start.run(start.arg);
}

static int result(int rc)
{
	return rc == 0 ? thrd_success : rc == ETIMEDOUT ? thrd_timedout : thrd_error;
}

int thrd_create(thrd_t *thread, thrd_start_t func, void *arg)
{
	struct start *start = malloc(sizeof(*start));
	int rc;

	if (!start)
		return thrd_nomem;
	*start = (struct start){ .run = func, .arg = arg };
	rc = pthread_create(thread, NULL, run, start);
	if (rc)
		free(start);
	return result(rc);
}

int thrd_join(thrd_t thread, int *code)
{
	void *value;
	int rc = pthread_join(thread, &value);

	if (rc == 0 && code)
		*code = (int)(intptr_t)value;
	return result(rc);
}

static pthread_mutex_t *mutex_of(mtx_t *mutex)
{
	_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t), "one type under two names");
	return (pthread_mutex_t *)(void *)mutex;
}

static pthread_cond_t *cond_of(cnd_t *cond)
{
	_Static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t), "one type under two names");
	return (pthread_cond_t *)(void *)cond;
}

void call_once(once_flag *flag, void (*func)(void))
{
	_Static_assert(sizeof(once_flag) == sizeof(pthread_once_t), "one type under two names");
	pthread_once((pthread_once_t *)(void *)flag, func);
}

int mtx_init(mtx_t *mutex, int type)
{
	pthread_mutexattr_t attributes;
	int rc;

	pthread_mutexattr_init(&attributes);
	if (type & mtx_recursive)
		pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
	rc = pthread_mutex_init(mutex_of(mutex), &attributes);
	pthread_mutexattr_destroy(&attributes);
	return result(rc);
}

int mtx_lock(mtx_t *mutex)
{
	return result(pthread_mutex_lock(mutex_of(mutex)));
}

int mtx_unlock(mtx_t *mutex)
{
	return result(pthread_mutex_unlock(mutex_of(mutex)));
}

void mtx_destroy(mtx_t *mutex)
{
	pthread_mutex_destroy(mutex_of(mutex));
}

int cnd_init(cnd_t *cond)
{
	return result(pthread_cond_init(cond_of(cond), NULL));
}

int cnd_signal(cnd_t *cond)
{
	return result(pthread_cond_signal(cond_of(cond)));
}

int cnd_broadcast(cnd_t *cond)
{
	return result(pthread_cond_broadcast(cond_of(cond)));
}

int cnd_wait(cnd_t *cond, mtx_t *mutex)
{
	return result(pthread_cond_wait(cond_of(cond), mutex_of(mutex)));
}

int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex,
		  const struct timespec *restrict until)
{
	return result(pthread_cond_timedwait(cond_of(cond), mutex_of(mutex), until));
}

void cnd_destroy(cnd_t *cond)
{
	pthread_cond_destroy(cond_of(cond));
}

int pthread_clockjoin_np(pthread_t thread, void **value_r, clockid_t clock,
			 const struct timespec *until)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	struct timespec now;
	int rc;

	while ((rc = pthread_tryjoin_np(thread, value_r)) == EBUSY) {
		clock_gettime(clock, &now);
		if (now.tv_sec > until->tv_sec ||
		    (now.tv_sec == until->tv_sec && now.tv_nsec >= until->tv_nsec))
			return ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
	return rc;
}
