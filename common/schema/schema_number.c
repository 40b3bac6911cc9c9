/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of JSON compared and divided without rounding: whole numbers of 64 bits beside doubles. A
 * double stands for the shortest decimal that reads back as it, which is what was written. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/schema/schema_impl.h"

#define TWO_TO_63 9223372036854775808.0

struct decimal { /* digits * 10^exponent; digits < 10^19 */
	uint64_t digits;
	int exponent;
};

static int compare_mixed(json_int_t whole, double real)
{
	json_int_t truncated;
	double rest;

	if (real >= TWO_TO_63)
		return -1;
	if (real < -TWO_TO_63)
		return 1;
	truncated = (json_int_t)real;
	if (whole != truncated)
		return whole < truncated ? -1 : 1;
	rest = real - (double)truncated;
	return rest > 0 ? -1 : rest < 0;
}

int schema_number_compare(const json_t *a, const json_t *b)
{
	if (json_is_integer(a) && json_is_integer(b)) {
		json_int_t x = json_integer_value(a), y = json_integer_value(b);

		return x < y ? -1 : x > y;
	}
	if (json_is_integer(a))
		return compare_mixed(json_integer_value(a), json_real_value(b));
	if (json_is_integer(b))
		return -compare_mixed(json_integer_value(b), json_real_value(a));
	return json_real_value(a) < json_real_value(b) ? -1
						       : json_real_value(a) > json_real_value(b);
}

bool schema_number_whole(const json_t *value)
{
	return json_is_integer(value) ||
	       (json_is_real(value) && trunc(json_real_value(value)) == json_real_value(value));
}

static struct decimal decimal_of_real(double real)
{
	struct decimal decimal = { 0 };
	char text[40], *mark;
	int precision = 15;

	do
		snprintf(text, sizeof(text), "%.*e", precision - 1, real);
	while (strtod(text, NULL) != real && precision++ < 17);
	mark = strchr(text, 'e');
	decimal.exponent = atoi(mark + 1);
	for (const char *p = text; p < mark; p++) {
		if (*p < '0' || *p > '9')
			continue;
		decimal.digits = decimal.digits * 10 + (uint64_t)(*p - '0');
		decimal.exponent -= p > text;
	}
	return decimal;
}

/* The sign does not matter to who divides. */
static struct decimal decimal_of(const json_t *value)
{
	struct decimal decimal = { 0 };
	json_int_t whole = json_integer_value(value);

	if (json_is_integer(value))
		decimal.digits = whole < 0 ? -(uint64_t)whole : (uint64_t)whole;
	else
		decimal = decimal_of_real(fabs(json_real_value(value)));
	while (decimal.digits && decimal.digits % 10 == 0) {
		decimal.digits /= 10;
		decimal.exponent++;
	}
	return decimal;
}

bool schema_number_multiple(const json_t *value, const json_t *of)
{
	struct decimal a, b;
	unsigned __int128 rest, divisor;
	int shift;

	if (json_is_integer(value) && json_is_integer(of))
		return json_integer_value(value) % json_integer_value(of) == 0;
	a = decimal_of(value);
	b = decimal_of(of);
	shift = a.exponent - b.exponent;
	if (a.digits == 0)
		return true;
	/* Neither ends in a zero: fewer decimals than the divisor's can be made up, more cannot. */
	if (shift < 0)
		return false;
	divisor = b.digits;
	rest = a.digits % divisor;
	for (; shift > 0 && rest; shift--)
		rest = rest * 10 % divisor;
	return rest == 0;
}
