/* SPDX-License-Identifier: Apache-2.0 */
/* The page that Prometheus reads: every slot's series, those of one name and labels summed. Called
 * at a scrape; takes no lock that a counting thread would notice. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/service/metrics_rows.h"

struct found {
	const struct metric_series **series;
	size_t count, capacity;
};

static void collect(struct found *found, const struct metric_series *series)
{
	if (found->count == found->capacity) {
		found->capacity = found->capacity ? found->capacity * 2 : 256;
		found->series = xrealloc(found->series, found->capacity * sizeof(found->series[0]));
	}
	found->series[found->count++] = series;
}

static bool was_used(const struct metric_series *series)
{
	if (atomic_load_explicit(&series->value, memory_order_relaxed))
		return true;
	for (size_t i = 0; i < METRICS_BUCKETS_MAX; i++) {
		if (atomic_load_explicit(&series->buckets[i], memory_order_relaxed))
			return true;
	}
	return false;
}

static void collect_slot(struct found *found, const struct metrics_slot *slot, bool live)
{
	uint32_t count = atomic_load_explicit(&slot->series_count, memory_order_acquire);

	for (uint32_t i = 0; i < count && i < METRICS_SERIES_MAX; i++) {
		if (slot->series[i].metric < METRIC_COUNT &&
		    (live || metric_rows[slot->series[i].metric].kind != METRIC_GAUGE))
			collect(found, &slot->series[i]);
	}
	for (uint32_t i = METRICS_SERIES_MAX;
	     i < METRICS_SERIES_MAX + METRIC_COUNT && count == METRICS_SERIES_MAX; i++) {
		if (was_used(&slot->series[i]))
			collect(found, &slot->series[i]);
	}
}

static int compare(const void *a, const void *b)
{
	const struct metric_series *one = *(const struct metric_series *const *)a,
				   *two = *(const struct metric_series *const *)b;
	int order = (int)one->metric - (int)two->metric;

	if (!order)
		order = strcmp(one->label1, two->label1);
	return order ? order : strcmp(one->label2, two->label2);
}

/* Inside quotes the format escapes \, " and line feeds. */
static void add_label(struct strbuf *out, const char *name, const char *value, char *separator)
{
	if (!name)
		return;
	strbuf_addch(out, *separator);
	*separator = ',';
	strbuf_addstr(out, name);
	strbuf_addstr(out, "=\"");
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			strbuf_addch(out, '\\');
		if (*value == '\n')
			strbuf_addstr(out, "\\n");
		else
			strbuf_addch(out, *value);
	}
	strbuf_addch(out, '"');
}

/* name_suffix{labels,le="…"} without the value */
static void add_head(struct strbuf *out, const struct metric_series *series, const char *suffix,
		     const char *bound)
{
	const struct metric_row *row = &metric_rows[series->metric];
	char separator = '{';

	strbuf_addstr(out, row->name);
	strbuf_addstr(out, suffix);
	add_label(out, row->label1, series->label1, &separator);
	add_label(out, row->label2, series->label2, &separator);
	add_label(out, bound ? "le" : NULL, bound, &separator);
	strbuf_addstr(out, separator == '{' ? " " : "} ");
}

static void add_histogram(struct strbuf *out, const struct metric_series *const *same, size_t count)
{
	enum metric_kind kind = metric_rows[same[0]->metric].kind;
	uint64_t total = 0, sum = 0;
	size_t bound_count;
	const double *bounds = metric_bounds(kind, &bound_count);

	for (size_t bucket = 0; bucket <= bound_count; bucket++) {
		char bound[32] = "+Inf";

		for (size_t i = 0; i < count; i++)
			total += atomic_load_explicit(&same[i]->buckets[bucket],
						      memory_order_relaxed);
		if (bucket < bound_count)
			snprintf(bound, sizeof(bound), "%g", bounds[bucket]);
		add_head(out, same[0], "_bucket", bound);
		strbuf_printf(out, "%" PRIu64 "\n", total);
	}
	for (size_t i = 0; i < count; i++)
		sum += atomic_load_explicit(&same[i]->value, memory_order_relaxed);
	add_head(out, same[0], "_sum", NULL);
	strbuf_printf(out, "%.9g\n", (double)sum / metric_unit(kind));
	add_head(out, same[0], "_count", NULL);
	strbuf_printf(out, "%" PRIu64 "\n", total);
}

static void add_series(struct strbuf *out, const struct metric_series *const *same, size_t count)
{
	enum metric_kind kind = metric_rows[same[0]->metric].kind;
	uint64_t whole = 0;
	double gauge = 0;

	if (kind == METRIC_TIMES || kind == METRIC_SIZES) {
		add_histogram(out, same, count);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		uint64_t bits = atomic_load_explicit(&same[i]->value, memory_order_relaxed);
		double value;

		memcpy(&value, &bits, sizeof(value));
		whole += bits;
		gauge += kind == METRIC_GAUGE ? value : 0;
	}
	add_head(out, same[0], "", NULL);
	if (kind == METRIC_GAUGE)
		strbuf_printf(out, "%.15g\n", gauge);
	else
		strbuf_printf(out, "%" PRIu64 "\n", whole);
}

static void add_title(struct strbuf *out, const struct metric_row *row)
{
	static const char *const kinds[] = { "counter", "gauge", "histogram", "histogram" };

	strbuf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name,
		      kinds[row->kind]);
}

double metrics_gauge(struct metrics *metrics, enum metric metric)
{
	struct found found = { 0 };
	double sum = 0;

	for (size_t i = 0; i < METRICS_SLOTS; i++) {
		if (atomic_load_explicit(&metrics->memory->slots[i].series_count,
					 memory_order_acquire) &&
		    metrics_slot_live(metrics, i))
			collect_slot(&found, &metrics->memory->slots[i], true);
	}
	for (size_t i = 0; i < found.count; i++) {
		uint64_t bits = atomic_load_explicit(&found.series[i]->value, memory_order_relaxed);
		double value;

		memcpy(&value, &bits, sizeof(value));
		sum += found.series[i]->metric == (uint32_t)metric ? value : 0;
	}
	free(found.series);
	return sum;
}

void metrics_render(struct metrics *metrics, struct strbuf *out)
{
	struct found found = { 0 };

	metrics_count_log(metrics);
	for (size_t i = 0; i < METRICS_SLOTS; i++) {
		if (atomic_load_explicit(&metrics->memory->slots[i].series_count,
					 memory_order_acquire))
			collect_slot(&found, &metrics->memory->slots[i],
				     metrics_slot_live(metrics, i));
	}
	if (found.count)
		qsort(found.series, found.count, sizeof(found.series[0]), compare);
	for (size_t first = 0, next; first < found.count; first = next) {
		const struct metric_series *series = found.series[first];

		for (next = first + 1;
		     next < found.count && compare(&found.series[first], &found.series[next]) == 0;)
			next++;
		if (!first || found.series[first - 1]->metric != series->metric)
			add_title(out, &metric_rows[series->metric]);
		add_series(out, &found.series[first], next - first);
	}
	free(found.series);
}
