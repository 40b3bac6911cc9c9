/* SPDX-License-Identifier: Apache-2.0 */
/* Counting: lock-free on the way of a job, a short lock when a series is looked up. Each process
 * writes to a slot of its own, which it holds by a file lock on the shared mapping; the kernel lets
 * go of it when the process dies, and the next one counts on there. */
#include "common/service/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/log.h"
#include "common/service/metrics_rows.h"

int metrics_create(void)
{
	int fd = memfd_create("windlass-metrics", MFD_CLOEXEC);
	uint64_t shape = sizeof(struct metrics_memory);

	if (fd >= 0 && (ftruncate(fd, (off_t)shape) != 0 ||
			pwrite(fd, &shape, sizeof(shape), 0) != (ssize_t)sizeof(shape))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* The descriptor that the parent left us; -1: none. */
static int take_inherited(void)
{
	const char *text = getenv("WINDLASS_METRICS_FD");
	struct stat about;
	char *end;
	long fd;

	if (!text)
		return -1;
	fd = strtol(text, &end, 10);
	if (end == text || *end || fd <= STDERR_FILENO || fd > 65535 ||
	    fstat((int)fd, &about) != 0 || about.st_size != (off_t)sizeof(struct metrics_memory))
		return -1;
	(void)fcntl((int)fd, F_SETFD, FD_CLOEXEC);
	return (int)fd;
}

static bool lock_slot(int fd, size_t slot)
{
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)slot, .l_len = 1
	};

	return fcntl(fd, F_SETLK, &lock) == 0;
}

bool metrics_slot_live(const struct metrics *metrics, size_t slot)
{
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)slot, .l_len = 1
	};

	if (metrics->own == &metrics->memory->slots[slot])
		return true;
	return metrics->fd >= 0 && fcntl(metrics->fd, F_GETLK, &lock) == 0 &&
	       lock.l_type != F_UNLCK;
}

static void clear_gauge(struct metric_series *series)
{
	if (metric_rows[series->metric].kind == METRIC_GAUGE)
		atomic_store_explicit(&series->value, 0, memory_order_relaxed);
}

/* A slot whose last holder has died keeps its counters; its gauges spoke of that process. */
static void clear_gauges(struct metrics_slot *slot)
{
	uint32_t count = atomic_load_explicit(&slot->series_count, memory_order_acquire);

	for (uint32_t i = 0; i < count; i++)
		clear_gauge(&slot->series[i]);
	for (uint32_t i = 0; i < METRIC_COUNT; i++)
		clear_gauge(&slot->series[METRICS_SERIES_MAX + i]);
}

static struct metrics_slot *take_slot(struct metrics_memory *memory, int fd)
{
	for (size_t i = 0; i < METRICS_SLOTS; i++) {
		if (lock_slot(fd, i))
			return &memory->slots[i];
	}
	return NULL;
}

static bool map(struct metrics *metrics, int fd)
{
	struct metrics_memory *memory =
		mmap(NULL, sizeof(*memory), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (memory == MAP_FAILED)
		return false;
	metrics->own = memory->shape == sizeof(*memory) ? take_slot(memory, fd) : NULL;
	if (!metrics->own) {
		munmap(memory, sizeof(*memory));
		return false;
	}
	metrics->memory = memory;
	metrics->fd = fd;
	return true;
}

static void map_private(struct metrics *metrics)
{
	metrics->memory = mmap(NULL, sizeof(*metrics->memory), PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(metrics->memory != MAP_FAILED);
	metrics->own = &metrics->memory->slots[0];
	metrics->fd = -1;
}

struct metrics *metrics_open(const char *role)
{
	struct metrics *metrics = xcalloc(1, sizeof(*metrics));
	int fd = take_inherited();

	CHECK(pthread_mutex_init(&metrics->lock, NULL) == 0);
	if (fd < 0 || !map(metrics, fd)) {
		if (fd >= 0) {
			log_line(LOG_WARN, "metrics-not-shared", LOG_S("role", role));
			close(fd);
		}
		map_private(metrics);
	}
	for (uint32_t i = 0; i < METRIC_COUNT; i++) {
		struct metric_series *other = &metrics->own->series[METRICS_SERIES_MAX + i];

		other->metric = i;
		if (metric_rows[i].label1)
			snprintf(other->label1, sizeof(other->label1), "other");
		if (metric_rows[i].label2)
			snprintf(other->label2, sizeof(other->label2), "other");
	}
	clear_gauges(metrics->own);
	snprintf(metrics->own->role, sizeof(metrics->own->role), "%s", role);
	return metrics;
}

void metrics_count_log(struct metrics *metrics)
{
	struct metric_series *series = metrics_series(metrics, METRIC_LOG_DROPPED, NULL, NULL);
	uint64_t dropped = log_dropped(), known = atomic_exchange(&metrics->log_dropped, dropped);

	if (dropped > known)
		metric_add(series, dropped - known);
}

void metrics_close(struct metrics **metrics)
{
	struct metrics *gone = *metrics;

	*metrics = NULL;
	if (!gone)
		return;
	metrics_count_log(gone);
	clear_gauges(gone->own);
	munmap(gone->memory, sizeof(*gone->memory));
	if (gone->fd >= 0)
		close(gone->fd); /* lets go of the slot */
	pthread_mutex_destroy(&gone->lock);
	free(gone);
}

/* ---- series */

static uint32_t hash_text(uint32_t hash, const char *text)
{
	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * 16777619u;
	return (hash ^ 0xff) * 16777619u;
}

/* Cut at the end of a character. */
static void put_label(char *label_r, size_t room, const char *text)
{
	size_t bytes = strlen(text);

	if (bytes >= room) {
		bytes = room - 1;
		while (bytes && ((unsigned char)text[bytes] & 0xc0) == 0x80)
			bytes--;
	}
	memcpy(label_r, text, bytes);
	label_r[bytes] = 0;
}

static struct metric_series *find_series(struct metrics_slot *slot,
					 const struct metric_series *wanted)
{
	uint32_t count = atomic_load_explicit(&slot->series_count, memory_order_relaxed);

	for (uint32_t i = 0; i < count; i++) {
		struct metric_series *series = &slot->series[i];

		if (series->hash == wanted->hash && series->metric == wanted->metric &&
		    strcmp(series->label1, wanted->label1) == 0 &&
		    strcmp(series->label2, wanted->label2) == 0)
			return series;
	}
	if (count == METRICS_SERIES_MAX)
		return &slot->series[METRICS_SERIES_MAX + wanted->metric];
	return NULL;
}

static struct metric_series *add_series(struct metrics_slot *slot,
					const struct metric_series *wanted)
{
	uint32_t count = atomic_load_explicit(&slot->series_count, memory_order_relaxed);
	struct metric_series *series = &slot->series[count];

	series->hash = wanted->hash;
	series->metric = wanted->metric;
	memcpy(series->label1, wanted->label1, sizeof(series->label1));
	memcpy(series->label2, wanted->label2, sizeof(series->label2));
	/* A process that reads the slot, or the one that takes it over, sees a series whole or not
	 * at all. */
	atomic_store_explicit(&slot->series_count, count + 1, memory_order_release);
	return series;
}

struct metric_series *metrics_series(struct metrics *metrics, enum metric metric,
				     const char *label1, const char *label2)
{
	const struct metric_row *row = &metric_rows[metric];
	struct metric_series wanted = { .metric = metric }, *series;

	CHECK(metric < METRIC_COUNT && !row->label1 == !label1 && !row->label2 == !label2);
	if (label1)
		put_label(wanted.label1, sizeof(wanted.label1), label1);
	if (label2)
		put_label(wanted.label2, sizeof(wanted.label2), label2);
	wanted.hash = hash_text(hash_text(2166136261u ^ metric, wanted.label1), wanted.label2);
	pthread_mutex_lock(&metrics->lock);
	series = find_series(metrics->own, &wanted);
	if (!series)
		series = add_series(metrics->own, &wanted);
	pthread_mutex_unlock(&metrics->lock);
	return series;
}

/* ---- counting: any thread, no lock */

void metric_add(struct metric_series *series, uint64_t n)
{
	CHECK(metric_rows[series->metric].kind == METRIC_COUNTER);
	atomic_fetch_add_explicit(&series->value, n, memory_order_relaxed);
}

static uint64_t to_bits(double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

void metric_set(struct metric_series *series, double value)
{
	CHECK(metric_rows[series->metric].kind == METRIC_GAUGE);
	atomic_store_explicit(&series->value, to_bits(value), memory_order_relaxed);
}

void metric_move(struct metric_series *series, int64_t delta)
{
	uint64_t before = atomic_load_explicit(&series->value, memory_order_relaxed), after;
	double value;

	CHECK(metric_rows[series->metric].kind == METRIC_GAUGE);
	do {
		memcpy(&value, &before, sizeof(value));
		after = to_bits(value + (double)delta);
	} while (!atomic_compare_exchange_weak_explicit(
		&series->value, &before, after, memory_order_relaxed, memory_order_relaxed));
}

void metric_observe(struct metric_series *series, double value)
{
	enum metric_kind kind = metric_rows[series->metric].kind;
	size_t count, bucket = 0;
	const double *bounds = metric_bounds(kind, &count);

	if (!(value > 0)) /* clocks of two machines; also NaN */
		value = 0;
	while (bucket < count && value > bounds[bucket])
		bucket++;
	atomic_fetch_add_explicit(&series->buckets[bucket], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&series->value,
				  (uint64_t)(fmin(value, 1e8) * metric_unit(kind) + 0.5),
				  memory_order_relaxed);
}

uint64_t metric_value(const struct metric_series *series)
{
	CHECK(metric_rows[series->metric].kind == METRIC_COUNTER);
	return atomic_load_explicit(&series->value, memory_order_relaxed);
}
