/* SPDX-License-Identifier: Apache-2.0 */
/* Rows as the arguments of one statement. Unnesting an array costs the server about 0.3 us a row,
 * so a column that is the same in all rows is sent as one value. Used where many rows are inserted
 * at once: jobs (new_jobs.c) and completions (fence.c). */
#include <string.h>

#include "common/store/postgres/postgres_impl.h"

struct cell cell_bytes(const void *data, size_t bytes)
{
	return (struct cell){ .data = data, .bytes = data ? bytes : 0 };
}

struct cell cell_text(const char *text)
{
	return cell_bytes(text, text ? strlen(text) : 0);
}

struct cell cell_number(int64_t n)
{
	return (struct cell){ .number = true, .n = n };
}

struct cell cell_uuid(const struct uuid *id)
{
	return cell_bytes(id->b, sizeof(id->b));
}

static bool cells_equal(const struct cell *a, const struct cell *b)
{
	return a->number == b->number && a->n == b->n && !a->data == !b->data &&
	       a->bytes == b->bytes && (!a->data || !memcmp(a->data, b->data, a->bytes));
}

unsigned columns_differ(const struct columns *columns)
{
	unsigned arrays = 1u << COLUMN_EACH_ITS_OWN;

	for (size_t c = 0; c < columns->count; c++) {
		unsigned bit = 1u << columns->facts[c].group;
		struct cell first = columns->cell(columns->rows, 0, c);

		for (size_t i = 1; i < columns->row_count && !(arrays & bit); i++) {
			struct cell cell = columns->cell(columns->rows, i, c);

			if (!cells_equal(&first, &cell))
				arrays |= bit;
		}
	}
	return arrays;
}

/* ---- the statement */

static bool is_array(const struct columns *columns, unsigned arrays, size_t c)
{
	return arrays & 1u << columns->facts[c].group;
}

/* The columns that are arrays: their names, or their arguments. */
static void add_arrays(struct strbuf *sql, const struct columns *columns, unsigned arrays,
		       bool names)
{
	const char *comma = "";

	for (size_t c = 0; c < columns->count; c++) {
		if (!is_array(columns, arrays, c))
			continue;
		strbuf_addstr(sql, comma);
		comma = ", ";
		if (names)
			strbuf_addstr(sql, columns->facts[c].name);
		else
			strbuf_printf(sql, "$%zu::%s[]", c + 1, columns->facts[c].type);
	}
}

void columns_select(struct strbuf *sql, const struct columns *columns, unsigned arrays)
{
	strbuf_addstr(sql, "SELECT ");
	add_arrays(sql, columns, arrays, true);
	for (size_t c = 0; c < columns->count; c++)
		if (!is_array(columns, arrays, c))
			strbuf_printf(sql, ", $%zu::%s AS %s", c + 1, columns->facts[c].type,
				      columns->facts[c].name);
	strbuf_addstr(sql, " FROM unnest(");
	add_arrays(sql, columns, arrays, false);
	strbuf_addstr(sql, ") AS u(");
	add_arrays(sql, columns, arrays, true);
	strbuf_addch(sql, ')');
}

/* ---- the arguments */

static void add_array(struct postgres *pg, const struct columns *columns, size_t c)
{
	struct array *array = postgres_arg_array(pg, columns->facts[c].element);

	for (size_t i = 0; i < columns->row_count; i++) {
		struct cell cell = columns->cell(columns->rows, i, c);

		if (cell.number)
			array_i64(array, cell.n);
		else
			array_bytes(array, cell.data, cell.bytes);
	}
}

static void add_number(struct postgres *pg, Oid type, int64_t n)
{
	if (type == TYPE_INT8)
		postgres_arg_i64(pg, n);
	else if (type == TYPE_INT4)
		postgres_arg_i32(pg, (int32_t)n);
	else
		postgres_arg_i16(pg, (int16_t)n);
}

void columns_args(struct postgres *pg, const struct columns *columns, unsigned arrays)
{
	for (size_t c = 0; c < columns->count; c++) {
		struct cell cell = columns->cell(columns->rows, 0, c);

		if (is_array(columns, arrays, c))
			add_array(pg, columns, c);
		else if (cell.number)
			add_number(pg, columns->facts[c].element, cell.n);
		else
			postgres_arg_bytes(pg, cell.data, cell.bytes);
	}
}
