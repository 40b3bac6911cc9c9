/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of a store, the part of pools: wanted counts with their audit, whose turn it is, the
 * time of calm, what sessions say of themselves. Every case runs on every store. */
#include "common/store/pool.h"

#include "tests/integration/store_fixture.h"

static size_t rows(struct fixture *fx, struct pool_row **rows_r)
{
	size_t count;

	check_store(fx, pool_list(fx->other, fx->arena, rows_r, &count, &fx->error));
	return count;
}

static void scale(struct fixture *fx, const char *node, int workers, int hosts)
{
	struct pool_scale scale = {
		.pool = "orders", .node = node, .workers = workers, .hosts = hosts
	};
	struct audit audit = { .who = "ops", .action = "pool.scale", .object = "orders" };

	check_store(fx, pool_scale(fx->store, &scale, &audit, &fx->error));
}

static size_t audited(struct fixture *fx)
{
	struct audit_filter filter = { .object = "orders", .limit = 100 };
	struct audit_view *views;
	size_t count;

	check_store(fx, audit_list(fx->other, &filter, fx->arena, &views, &count, &fx->error));
	return count;
}

static void counts_are_kept(struct fixture *fx)
{
	struct pool_row *got;

	assert_int_equal(rows(fx, &got), 0);
	scale(fx, "", 8, POOL_KEEP);
	scale(fx, "", POOL_KEEP, 4);
	scale(fx, "b", 0, POOL_AS_FILE);
	assert_int_equal(rows(fx, &got), 2);
	assert_string_equal(got[0].pool, "orders");
	assert_string_equal(got[0].node, "");
	assert_int_equal(got[0].workers, 8);
	assert_int_equal(got[0].hosts, 4);
	assert_string_equal(got[0].who, "ops");
	assert_true(got[0].at_ms > 0);
	assert_string_equal(got[1].node, "b");
	assert_int_equal(got[1].workers, 0);
	assert_int_equal(got[1].hosts, POOL_AS_FILE);
	assert_int_equal(audited(fx), 3);
	scale(fx, "", 9, POOL_AS_FILE);
	scale(fx, "b", POOL_AS_FILE, POOL_KEEP);
	assert_int_equal(rows(fx, &got), 1); /* nothing was left of b's */
	assert_int_equal(got[0].workers, 9);
	assert_int_equal(got[0].hosts, POOL_AS_FILE);
	assert_int_equal(audited(fx), 5);
}

static bool turn(struct fixture *fx, struct store *store, int64_t every_ms, struct pool_turn *got)
{
	check_store(fx, pool_turn(store, "orders", every_ms, got, &fx->error));
	return got->mine;
}

static void one_decides_at_a_time(struct fixture *fx)
{
	struct pool_turn got;

	assert_true(turn(fx, fx->store, 60000, &got));
	assert_int_equal(got.calm_ms, -1);
	assert_false(turn(fx, fx->other, 60000, &got));
	assert_false(turn(fx, fx->store, 60000, &got));
	check_store(fx, pool_turn(fx->other, "mails", 60000, &got, &fx->error));
	assert_true(got.mine);
	pause_ms(30);
	assert_true(turn(fx, fx->other, 20, &got));
}

static void decide(struct fixture *fx, bool calm, int workers)
{
	struct audit audit = { .who = "autoscaler", .action = "pool.scale", .object = "orders" };

	check_store(fx, pool_decide(fx->store, "orders", calm, workers, &audit, &fx->error));
}

static void calm_lasts(struct fixture *fx)
{
	struct pool_turn got;
	struct pool_row *kept;

	assert_true(turn(fx, fx->store, 1, &got));
	decide(fx, true, POOL_KEEP);
	pause_ms(30);
	assert_true(turn(fx, fx->store, 1, &got));
	assert_true(got.calm_ms >= 25);
	decide(fx, true, POOL_KEEP);
	pause_ms(10);
	assert_true(turn(fx, fx->other, 1, &got));
	assert_true(got.calm_ms >= 35);
	decide(fx, false, POOL_KEEP);
	pause_ms(5);
	assert_true(turn(fx, fx->store, 1, &got));
	assert_int_equal(got.calm_ms, -1);
	assert_int_equal(audited(fx), 0);
	assert_int_equal(rows(fx, &kept), 0);
	decide(fx, true, POOL_KEEP);
	decide(fx, true, 3); /* a change begins a new time of calm */
	pause_ms(5);
	assert_true(turn(fx, fx->store, 1, &got));
	assert_int_equal(got.calm_ms, -1);
	assert_int_equal(audited(fx), 1);
	assert_int_equal(rows(fx, &kept), 1);
	assert_int_equal(kept[0].workers, 3);
	assert_string_equal(kept[0].who, "autoscaler");
}

static void sessions_say_how_it_goes(struct fixture *fx)
{
	struct session_figures figures = {
		.hosts = 8, .busy = 3, .rate_per_s = 12.5, .leaving = true
	};
	struct session_info info = {
		.host = "there", .pid = 7, .lease_ms = 60000, .pool = "orders", .node = "b"
	};
	struct worker_view *workers;
	size_t count;
	bool fresh, found = false;

	uuid_v7(&info.id);
	check_store(fx, session_renew(fx->store, &info, &fresh, &fx->error));
	check_store(fx, session_figure(fx->store, &info.id, &figures, &fx->error));
	check_store(fx, session_renew(fx->store, &info, &fresh, &fx->error));
	check_store(fx, query_workers(fx->other, fx->arena, &workers, &count, &fx->error));
	for (size_t i = 0; i < count; i++) {
		if (!uuid_equal(&workers[i].session, &info.id)) {
			assert_string_equal(workers[i].pool, "");
			continue;
		}
		found = true;
		assert_string_equal(workers[i].pool, "orders");
		assert_string_equal(workers[i].node, "b");
		assert_int_equal(workers[i].figures.hosts, 8);
		assert_int_equal(workers[i].figures.busy, 3);
		assert_true(workers[i].figures.rate_per_s == 12.5 && workers[i].figures.leaving);
	}
	assert_true(found);
}

static void the_bell_tells(struct fixture *fx)
{
	struct bell *ear = bell_open(fx->url, BELL_SCALE, &fx->error);
	struct bell *mouth = bell_open(fx->url, 0, &fx->error);
	struct bell_event event = { 0 };
	int heard = 0;

	assert_true(ear && mouth);
	for (int tries = 0; tries < 100 && !heard; tries++) {
		bell_ring(mouth, BELL_SCALE);
		heard = bell_wait(ear, 100, &event) && (event.what & BELL_SCALE);
	}
	assert_true(heard);
	bell_close(&mouth);
	bell_close(&ear);
}

static const struct store_case cases[] = {
	{ "counts_are_kept", counts_are_kept },
	{ "one_decides_at_a_time", one_decides_at_a_time },
	{ "calm_lasts", calm_lasts },
	{ "sessions_say_how_it_goes", sessions_say_how_it_goes },
	{ "the_bell_tells", the_bell_tells },
};

int main(void)
{
	return store_cases_run("store_pool", cases, ARRAY_LEN(cases));
}
