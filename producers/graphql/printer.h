/* SPDX-License-Identifier: Apache-2.0 */
/* Values and types as text: for messages and for the default values of introspection. */
#ifndef PRODUCERS_GRAPHQL_PRINTER_H
#define PRODUCERS_GRAPHQL_PRINTER_H
#include "producers/graphql/document.h"

const char *printer_value(struct arena *arena, const struct node *value);
/* The same with null for variables in lists, and without fields whose value is a variable. */
const char *printer_constant(struct arena *arena, const struct node *value);
const char *printer_type(struct arena *arena, const struct node *type); /* "[Int!]" */

#endif
