/* SPDX-License-Identifier: Apache-2.0 */
/* The only file that sees libsmartcols. The last column takes what width is left and goes on in
 * further lines. */
#include "cli/table.h"

#include <libsmartcols.h>
#include <locale.h>
#include <stdlib.h>

#include "common/base/arena.h"
#include "common/base/check.h"

struct table {
	struct libscols_table *scols;
	size_t columns;
};

struct table *table_new(const char *const *headings, size_t columns)
{
	struct table *table = xcalloc(1, sizeof(*table));

	setlocale(LC_CTYPE, "");
	table->scols = scols_new_table();
	table->columns = columns;
	CHECK(table->scols);
	scols_table_enable_noheadings(table->scols, headings == NULL);
	for (size_t i = 0; i < columns; i++)
		CHECK(scols_table_new_column(table->scols, headings ? headings[i] : "", 0,
					     i + 1 == columns ? SCOLS_FL_WRAP : 0));
	return table;
}

void table_row(struct table *table, const char *const *cells)
{
	struct libscols_line *line = scols_table_new_line(table->scols, NULL);

	CHECK(line);
	for (size_t i = 0; i < table->columns; i++)
		CHECK(scols_line_set_data(line, i, cells[i] ? cells[i] : "") == 0);
}

void table_print(struct table **table)
{
	scols_print_table((*table)->scols);
	scols_unref_table((*table)->scols);
	free(*table);
	*table = NULL;
}
