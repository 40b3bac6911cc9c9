/* SPDX-License-Identifier: Apache-2.0 */
/* A read-write lock for what is read all the time and seldom replaced: who waits to write is not
 * kept out by those who keep reading. A thread that holds it does not ask for it again. */
#ifndef COMMON_BASE_FAIR_LOCK_H
#define COMMON_BASE_FAIR_LOCK_H
#include <pthread.h>

#include "common/base/check.h"

static inline void fair_lock_init(pthread_rwlock_t *lock)
{
	pthread_rwlockattr_t attr;

	CHECK(pthread_rwlockattr_init(&attr) == 0);
	CHECK(pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP) ==
	      0);
	CHECK(pthread_rwlock_init(lock, &attr) == 0);
	pthread_rwlockattr_destroy(&attr);
}

#endif
