/* SPDX-License-Identifier: Apache-2.0 */
/* Tables for people, on libsmartcols: as wide as the terminal, whole when the output is not one. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H
#include <stddef.h>

struct table;

/* headings NULL: none are printed. */
struct table *table_new(const char *const *headings, size_t columns);
void table_row(struct table *table, const char *const *cells); /* copies; a NULL cell is empty */
void table_print(struct table **table);                        /* to standard output; frees it */

#endif
