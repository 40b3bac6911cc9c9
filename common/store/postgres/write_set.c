/* SPDX-License-Identifier: Apache-2.0 */
/* Write sets of many jobs on their way into one transaction. Of jobs that only insert what they
 * know, equal INSERTs are folded into one statement over arrays. A job with any other statement may
 * read what it has just written, so all of its statements are sent as they are, without another
 * job's between them. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/store/postgres/postgres_impl.h"

/* Handlers' statements are planned as PostgreSQL would without us; jit stays off, it never pays in
 * a short transaction. */
static const char unpin[] =
	"SELECT set_config('enable_seqscan', 'on', true), set_config('enable_hashjoin', 'on',"
	" true), set_config('enable_mergejoin', 'on', true), set_config('enable_bitmapscan', 'on',"
	" true), set_config('plan_cache_mode', 'auto', true)";
static const char pin[] =
	"SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off',"
	" true), set_config('enable_mergejoin', 'off', true), set_config('enable_bitmapscan',"
	" 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true)";

/* ---- the plan */

static void add_member(struct postgres *pg, struct write_group *group, struct completion *item,
		       size_t index)
{
	if (group->count == group->cap) {
		size_t cap = group->cap ? 2 * group->cap : 1;
		struct write_member *members = ARENA_ARRAY(pg->scratch, struct write_member, cap);

		if (group->count)
			memcpy(members, group->members, group->count * sizeof(*members));
		group->members = members;
		group->cap = cap;
	}
	group->members[group->count++] = (struct write_member){ .item = item, .index = index };
}

static struct write_group *add_group(struct postgres *pg, struct write_plan *plan, const char *sql)
{
	if (plan->count == plan->cap) {
		size_t cap = plan->cap ? 2 * plan->cap : 16;
		struct write_group *groups = ARENA_ARRAY(pg->scratch, struct write_group, cap);

		if (plan->count)
			memcpy(groups, plan->groups, plan->count * sizeof(*groups));
		plan->groups = groups;
		plan->cap = cap;
	}
	plan->groups[plan->count] = (struct write_group){ .sql = sql };
	return &plan->groups[plan->count++];
}

/* How many groups a statement is compared with, and how many texts are looked at. Batches have few
 * different texts, or folding does not pay anyway. */
#define GROUPS_SEARCHED 64
#define PLAN_TEXTS_MAX  64
#define UNFOLDED_LEVEL  (1 << 16) /* above all that are folded */

/* The statement over arrays; NULL: it cannot be. */
static char *folded_text(struct postgres *pg, struct write_plan *plan,
			 const struct sql_statement *statement)
{
	struct write_text *text;

	if (!statement->arg_count || (statement->rows != SQL_ROWS_ANY && statement->rows != 1))
		return NULL;
	for (size_t i = 0; i < plan->text_count; i++) {
		text = &plan->texts[i];
		if (text->arg_count == statement->arg_count &&
		    (text->sql == statement->sql || !strcmp(text->sql, statement->sql)))
			return text->folded;
	}
	if (plan->text_count == PLAN_TEXTS_MAX)
		return NULL;
	text = &plan->texts[plan->text_count++];
	*text = (struct write_text){
		.sql = statement->sql,
		.arg_count = statement->arg_count,
		.folded = fold_insert(pg->scratch, statement->sql, statement->arg_count),
	};
	return text->folded;
}

static bool only_inserts(struct postgres *pg, struct write_plan *plan,
			 const struct write_set *writes)
{
	for (size_t i = 0; i < writes->statement_count; i++)
		if (!folded_text(pg, plan, &writes->statements[i]))
			return false;
	return true;
}

static bool joins(const struct write_group *group, const struct sql_statement *statement, int level)
{
	const struct write_member *first = &group->members[0];

	return group->folded && group->level >= level &&
	       (group->sql == statement->sql || !strcmp(group->sql, statement->sql)) &&
	       first->item->writes.statements[first->index].arg_count == statement->arg_count;
}

/* Puts an INSERT of a job whose last one is in group `last` (SIZE_MAX: none) where it can be
 * folded, or on the level behind that one; returns its group. Groups of one level may go in any
 * order, so the next one must be higher, or the same. */
static size_t place_insert(struct postgres *pg, struct write_plan *plan, struct completion *item,
			   size_t index, size_t last)
{
	const struct sql_statement *statement = &item->writes.statements[index];
	int level = last == SIZE_MAX ? 0 : plan->groups[last].level + 1;

	if (last != SIZE_MAX && joins(&plan->groups[last], statement, 0)) {
		add_member(pg, &plan->groups[last], item, index);
		return last;
	}
	for (size_t g = 0; g < plan->count && g < GROUPS_SEARCHED; g++) {
		if (!joins(&plan->groups[g], statement, level))
			continue;
		add_member(pg, &plan->groups[g], item, index);
		return g;
	}
	struct write_group *group = add_group(pg, plan, statement->sql);

	group->level = level;
	group->folded = folded_text(pg, plan, statement);
	add_member(pg, group, item, index);
	return plan->count - 1;
}

static void place_inserts(struct postgres *pg, struct write_plan *plan, struct completion *item)
{
	size_t last = SIZE_MAX;

	for (size_t k = 0; k < item->writes.statement_count; k++)
		last = place_insert(pg, plan, item, k, last);
}

static void place_as_it_is(struct postgres *pg, struct write_plan *plan, struct completion *item,
			   int *level)
{
	for (size_t k = 0; k < item->writes.statement_count; k++) {
		struct write_group *group = add_group(pg, plan, item->writes.statements[k].sql);

		group->level = (*level)++;
		add_member(pg, group, item, k);
	}
}

static int by_level(const void *a, const void *b)
{
	const struct write_group *x = a, *y = b;

	return x->level < y->level ? -1 : x->level > y->level;
}

struct write_plan *write_plan_new(struct postgres *pg, struct completion *const *items,
				  size_t count, bool fold)
{
	struct write_plan *plan = ARENA_NEW(pg->scratch, struct write_plan);
	int level = UNFOLDED_LEVEL;

	plan->texts = ARENA_ARRAY(pg->scratch, struct write_text, PLAN_TEXTS_MAX);
	for (size_t i = 0; i < count; i++) {
		struct completion *item = items[i];

		if (!completion_writes(item))
			continue;
		if (fold && only_inserts(pg, plan, &item->writes))
			place_inserts(pg, plan, item);
		else
			place_as_it_is(pg, plan, item, &level);
	}
	/* One alone is sent as it is. */
	for (size_t g = 0; g < plan->count; g++)
		if (plan->groups[g].count == 1)
			plan->groups[g].folded = NULL;
	if (plan->count)
		qsort(plan->groups, plan->count, sizeof(*plan->groups), by_level);
	return plan;
}

/* ---- argument types */

static void note_types(struct prepared *prepared, const PGresult *described)
{
	prepared->arg_count = PQnparams(described);
	prepared->arrays = xcalloc((size_t)prepared->arg_count + 1, sizeof(*prepared->arrays));
	for (int i = 0; i < prepared->arg_count; i++)
		prepared->arrays[i] = PQparamtype(described, i);
}

/* Types of arguments become types of arrays of them. A type without an array type cannot be folded:
 * arg_count 0 says so. */
static void note_arrays(struct prepared *prepared, const PGresult *types)
{
	for (int i = 0; i < prepared->arg_count; i++) {
		Oid array = 0;

		for (int row = 0; row < PQntuples(types) && !array; row++)
			if ((Oid)result_i64(types, row, 0) == prepared->arrays[i])
				array = (Oid)result_i64(types, row, 1);
		prepared->arrays[i] = array;
		if (!array)
			prepared->arg_count = 0;
	}
	prepared->described = true;
}

static const char array_types[] =
	"SELECT oid::int8, typarray::int8 FROM pg_type WHERE oid IN (SELECT"
	" unnest($1::int8[])::oid)"
	" AND typarray <> 0 AND typdelim = ','";

static int learn(struct postgres *pg, const char *sql, struct prepared **prepared_r,
		 struct error *err_r)
{
	size_t place = postgres_describe(pg, sql);

	if (postgres_fly(pg, err_r) < 0) {
		*prepared_r = NULL;
		return err_r->code == ERROR_UNAVAILABLE ? -1 : 0;
	}
	struct prepared *prepared = prepared_find(pg, sql);

	note_types(prepared, postgres_result(pg, place));
	postgres_say(pg, array_types);
	struct array *oids = postgres_arg_array(pg, TYPE_INT8);

	for (int i = 0; i < prepared->arg_count; i++)
		array_i64(oids, prepared->arrays[i]);
	place = postgres_send(pg);
	if (postgres_fly(pg, err_r) < 0)
		return -1;
	prepared = prepared_find(pg, sql);
	*prepared_r = prepared;
	if (prepared)
		note_arrays(prepared, postgres_result(pg, place));
	return 0;
}

int write_plan_learn(struct postgres *pg, struct write_plan *plan, struct error *err_r)
{
	for (size_t g = 0; g < plan->count; g++) {
		struct write_group *group = &plan->groups[g];

		if (!group->folded)
			continue;
		struct prepared *prepared = prepared_find(pg, group->sql);

		if ((!prepared || !prepared->described) &&
		    learn(pg, group->sql, &prepared, err_r) < 0)
			return -1;
		const struct write_member *first = &group->members[0];

		if (!prepared || (size_t)prepared->arg_count !=
					 first->item->writes.statements[first->index].arg_count) {
			group->folded = NULL; /* whoever is wrong is told by the statement itself */
			continue;
		}
		/* Copied: the cache may give its place to another statement meanwhile. */
		group->arrays = arena_dup(pg->scratch, prepared->arrays,
					  (size_t)prepared->arg_count * sizeof(Oid));
	}
	return 0;
}

/* ---- sending */

static const char *const allowed[] = { "select", "insert", "update", "delete", "merge",
				       "with",   "values", "call",   "lock",   "truncate",
				       "notify", "create", "alter",  "drop",   "refresh" };

/* The first word, behind white space and comments. */
static const char *first_word(const char *p)
{
	for (;;) {
		while (isspace((unsigned char)*p) || *p == '(')
			p++;
		if (p[0] == '-' && p[1] == '-')
			p += strcspn(p, "\n");
		else if (p[0] == '/' && p[1] == '*' && strstr(p + 2, "*/"))
			p = strstr(p + 2, "*/") + 2;
		else
			return p;
	}
}

/* What would end our transaction, outlive it on this connection, or wait for data from the client
 * has no place in a write set. */
static bool permitted(const char *sql)
{
	const char *word = first_word(sql);
	size_t bytes = 0;

	while (isalpha((unsigned char)word[bytes]))
		bytes++;
	for (size_t i = 0; i < ARRAY_LEN(allowed); i++)
		if (strlen(allowed[i]) == bytes && !strncasecmp(word, allowed[i], bytes))
			return true;
	return false;
}

static const char not_permitted[] =
	"DO $$BEGIN RAISE EXCEPTION 'this kind of statement is not allowed in a write set'"
	" USING ERRCODE = 'invalid_transaction_termination'; END$$";

static void send_one(struct postgres *pg, struct write_member *member)
{
	const struct sql_statement *statement = &member->item->writes.statements[member->index];
	size_t n = statement->arg_count;
	const char **values = ARENA_ARRAY(pg->scratch, const char *, n);
	int *lengths = ARENA_ARRAY(pg->scratch, int, n),
	    *formats = ARENA_ARRAY(pg->scratch, int, n);

	for (size_t i = 0; i < n; i++) {
		const struct sql_value *value = &statement->args[i];

		if (value->kind == SQL_BLOB) {
			values[i] = value->bytes ? value->data : "";
			lengths[i] = (int)value->bytes;
			formats[i] = 1;
		} else {
			values[i] = write_value_text(pg->scratch, value);
		}
	}
	member->place = permitted(statement->sql)
				? postgres_send_foreign(pg, statement->sql, (int)n, values, lengths,
							formats, NULL)
				: postgres_plain(pg, not_permitted);
}

static void send_folded(struct postgres *pg, struct write_group *group)
{
	const struct write_member *first = &group->members[0];
	size_t n = first->item->writes.statements[first->index].arg_count;
	const char **values = ARENA_ARRAY(pg->scratch, const char *, n);
	int *lengths = ARENA_ARRAY(pg->scratch, int, n),
	    *formats = ARENA_ARRAY(pg->scratch, int, n);
	struct array *arrays = ARENA_ARRAY(pg->scratch, struct array, n);

	for (size_t i = 0; i < n; i++) {
		formats[i] = fold_binary(pg->scratch, group, i, group->arrays[i], &arrays[i]);
		if (formats[i]) {
			lengths[i] = (int)array_end(&arrays[i]);
			values[i] = arrays[i].bytes.data;
		} else {
			values[i] = fold_literal(pg->scratch, group, i);
		}
	}
	size_t place = postgres_send_foreign(pg, group->folded, (int)n, values, lengths, formats,
					     group->arrays);

	for (size_t i = 0; i < n; i++)
		if (arrays[i].bytes.data)
			strbuf_release(&arrays[i].bytes);

	for (size_t i = 0; i < group->count; i++)
		group->members[i].place = place;
}

void write_plan_send(struct postgres *pg, struct write_plan *plan)
{
	if (!plan->count)
		return;
	postgres_say(pg, unpin);
	plan->first = postgres_send(pg);
	for (size_t g = 0; g < plan->count; g++) {
		struct write_group *group = &plan->groups[g];

		if (group->folded)
			send_folded(pg, group);
		else
			for (size_t i = 0; i < group->count; i++)
				send_one(pg, &group->members[i]);
	}
	postgres_say(pg, pin);
	plan->last = postgres_send(pg);
}

/* ---- what came of it */

static int64_t wanted_rows(const struct write_member *member)
{
	return member->item->writes.statements[member->index].rows;
}

static int unmet(const struct write_member *member, int64_t rows, struct error *err_r)
{
	member->item->fate = COMPLETION_UNMET;
	member->item->bad_statement = member->index;
	error_set(&member->item->error, ERROR_CONFLICT, "statement %zu touched %lld rows, not %lld",
		  member->index + 1, (long long)rows, (long long)wanted_rows(member));
	*err_r = member->item->error;
	return -1;
}

/* Folded: each member is to insert one row; when some did not (a trigger, a rule), nobody knows
 * whose. */
static int check_folded(const struct postgres *pg, const struct write_group *group,
			struct error *err_r)
{
	int64_t rows = postgres_rows(pg, group->members[0].place);
	bool asked = false;

	for (size_t i = 0; i < group->count; i++)
		asked = asked || wanted_rows(&group->members[i]) != SQL_ROWS_ANY;
	if (!asked || rows == (int64_t)group->count)
		return 0;
	return error_set(err_r, ERROR_CONFLICT, "%lld rows were inserted, not %zu", (long long)rows,
			 group->count);
}

int write_plan_check(const struct postgres *pg, const struct write_plan *plan, struct error *err_r)
{
	int rc = 0;

	for (size_t g = 0; g < plan->count; g++) {
		const struct write_group *group = &plan->groups[g];

		if (group->folded && check_folded(pg, group, err_r) < 0)
			rc = -1;
		for (size_t i = 0; !group->folded && i < group->count; i++) {
			const struct write_member *member = &group->members[i];
			int64_t rows = postgres_rows(pg, member->place);

			/* All that are unmet are told: with many jobs on few rows they are many. */
			if (wanted_rows(member) != SQL_ROWS_ANY && rows != wanted_rows(member) &&
			    !member->item->fate)
				rc = unmet(member, rows, err_r);
		}
	}
	return rc;
}

bool write_plan_blame(const struct write_plan *plan, size_t place, const struct error *err)
{
	if (!plan->count || place < plan->first || place > plan->last)
		return false;
	for (size_t g = 0; g < plan->count; g++)
		for (size_t i = 0; i < plan->groups[g].count; i++) {
			const struct write_member *member = &plan->groups[g].members[i];

			/* The statement itself, or its Parse just before it. */
			if (member->place < place)
				continue;
			if (!plan->groups[g].folded) {
				member->item->fate = COMPLETION_FAILED;
				member->item->bad_statement = member->index;
				member->item->error = *err;
			}
			return true;
		}
	return true;
}
