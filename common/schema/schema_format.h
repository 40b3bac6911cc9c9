/* SPDX-License-Identifier: Apache-2.0 */
/* The checks of `format`, each of a text that need not end with NUL. Only what the table of
 * schema_format.c names. */
#ifndef COMMON_SCHEMA_SCHEMA_FORMAT_H
#define COMMON_SCHEMA_SCHEMA_FORMAT_H
#include <stdbool.h>
#include <stddef.h>

bool schema_format_date(const char *text, size_t bytes);
bool schema_format_time(const char *text, size_t bytes);
bool schema_format_date_time(const char *text, size_t bytes);
bool schema_format_duration(const char *text, size_t bytes);

bool schema_format_ipv4(const char *text, size_t bytes);
bool schema_format_ipv6(const char *text, size_t bytes);
bool schema_format_hostname(const char *text, size_t bytes);
bool schema_format_email(const char *text, size_t bytes);
bool schema_format_idn_email(const char *text, size_t bytes);
bool schema_format_uri(const char *text, size_t bytes);
bool schema_format_uri_reference(const char *text, size_t bytes);
bool schema_format_iri(const char *text, size_t bytes);
bool schema_format_iri_reference(const char *text, size_t bytes);

#endif
