/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns of ECMA-262 written anew for pcre2. What both mean alike is copied; what Perl means
 * otherwise is spelled out (\s, ".", "[^]", \u, \p{Letter}); what ECMA-262 does not have is
 * refused. */
#include <ctype.h>
#include <string.h>

#include "common/schema/schema_regex.h"

/* White space and line ends of ECMA-262, and all that is not, as parts of a class. */
#define SPACES                                                                                  \
	"\\x{9}-\\x{d} \\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}" \
	"\\x{3000}\\x{feff}"
#define NOT_SPACES                                                                     \
	"\\x{0}-\\x{8}\\x{e}-\\x{1f}!-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}"     \
	"\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}" \
	"\\x{3001}-\\x{d7ff}\\x{e000}-\\x{fefe}\\x{ff00}-\\x{10ffff}"

struct reader {
	const char *at;
	struct strbuf *out;
	bool in_class;
	bool quantifiable;
};

/* Long names of general categories, beside the short ones that pcre2 knows. */
static const struct {
	const char *name, *brief;
} categories[] = {
	{ "Letter", "L" },
	{ "Cased_Letter", "L&" },
	{ "Uppercase_Letter", "Lu" },
	{ "Lowercase_Letter", "Ll" },
	{ "Titlecase_Letter", "Lt" },
	{ "Modifier_Letter", "Lm" },
	{ "Other_Letter", "Lo" },
	{ "Mark", "M" },
	{ "Combining_Mark", "M" },
	{ "Nonspacing_Mark", "Mn" },
	{ "Spacing_Mark", "Mc" },
	{ "Enclosing_Mark", "Me" },
	{ "Number", "N" },
	{ "Decimal_Number", "Nd" },
	{ "digit", "Nd" },
	{ "Letter_Number", "Nl" },
	{ "Other_Number", "No" },
	{ "Punctuation", "P" },
	{ "punct", "P" },
	{ "Connector_Punctuation", "Pc" },
	{ "Dash_Punctuation", "Pd" },
	{ "Open_Punctuation", "Ps" },
	{ "Close_Punctuation", "Pe" },
	{ "Initial_Punctuation", "Pi" },
	{ "Final_Punctuation", "Pf" },
	{ "Other_Punctuation", "Po" },
	{ "Symbol", "S" },
	{ "Math_Symbol", "Sm" },
	{ "Currency_Symbol", "Sc" },
	{ "Modifier_Symbol", "Sk" },
	{ "Other_Symbol", "So" },
	{ "Separator", "Z" },
	{ "Space_Separator", "Zs" },
	{ "Line_Separator", "Zl" },
	{ "Paragraph_Separator", "Zp" },
	{ "Other", "C" },
	{ "Control", "Cc" },
	{ "cntrl", "Cc" },
	{ "Format", "Cf" },
	{ "Surrogate", "Cs" },
	{ "Private_Use", "Co" },
	{ "Unassigned", "Cn" },
};

static bool starts(const char *text, size_t bytes, const char *prefix)
{
	return bytes > strlen(prefix) && strncmp(text, prefix, strlen(prefix)) == 0;
}

/* \p{Name} or \P{Name}; reader->at stands behind the letter. */
static const char *translate_property(struct reader *reader, char letter)
{
	static const char *const prefixes[] = { "General_Category=", "gc=", "Script=", "sc=" };
	const char *name = reader->at + 1, *end;
	size_t bytes;

	end = *reader->at == '{' ? strchr(name, '}') : NULL;
	if (!end || end == name)
		return "\\p wants the name of a property in braces";
	reader->at = end + 1;
	bytes = (size_t)(end - name);
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
		if (starts(name, bytes, prefixes[i])) {
			name += strlen(prefixes[i]);
			bytes -= strlen(prefixes[i]);
			break;
		}
	}
	for (size_t i = 0; i < bytes; i++) {
		if (!isalnum((unsigned char)name[i]) && name[i] != '_' && name[i] != '=')
			return "the name of a property has letters, digits and _ only";
	}
	strbuf_printf(reader->out, "\\%c{", letter);
	for (size_t i = 0; i < ARRAY_LEN(categories); i++) {
		if (strlen(categories[i].name) == bytes &&
		    strncmp(categories[i].name, name, bytes) == 0) {
			name = categories[i].brief;
			bytes = strlen(name);
			break;
		}
	}
	strbuf_add(reader->out, name, bytes);
	strbuf_addch(reader->out, '}');
	return NULL;
}

/* So many hexadecimal digits, or -1. */
static long read_hex(const char *at, size_t digits)
{
	long n = 0;

	for (size_t i = 0; i < digits; i++) {
		if (!isxdigit((unsigned char)at[i]))
			return -1;
		n = n * 16 +
		    (isdigit((unsigned char)at[i]) ? at[i] - '0' : (at[i] | 0x20) - 'a' + 10);
	}
	return n;
}

static const char *add_point(struct reader *reader, long point)
{
	if (point < 0 || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
		return "an escape that is not a character";
	strbuf_printf(reader->out, "\\x{%lx}", (unsigned long)point);
	return NULL;
}

/* \uXXXX, two of them for one character, or \u{X…}; reader->at stands behind the u. */
static const char *translate_unicode(struct reader *reader)
{
	const char *at = reader->at;
	long point, low;
	size_t digits;

	if (*at == '{') {
		digits = strspn(at + 1, "0123456789abcdefABCDEF");
		if (digits == 0 || digits > 6 || at[1 + digits] != '}')
			return "\\u{ wants up to six hexadecimal digits and }";
		reader->at += digits + 2;
		return add_point(reader, read_hex(at + 1, digits));
	}
	point = read_hex(at, 4);
	if (point < 0)
		return "\\u wants four hexadecimal digits";
	reader->at += 4;
	low = point >= 0xd800 && point <= 0xdbff && at[4] == '\\' && at[5] == 'u'
		      ? read_hex(at + 6, 4)
		      : -1;
	if (low >= 0xdc00 && low <= 0xdfff) {
		reader->at += 6;
		point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
	}
	return add_point(reader, point);
}

static const char *translate_spaces(struct reader *reader, bool spaces)
{
	if (reader->in_class)
		strbuf_addstr(reader->out, spaces ? SPACES : NOT_SPACES);
	else
		strbuf_addstr(reader->out, spaces ? "[" SPACES "]" : "[^" SPACES "]");
	return NULL;
}

static const char *translate_hex(struct reader *reader)
{
	long point = read_hex(reader->at, 2);

	if (point < 0)
		return "\\x wants two hexadecimal digits";
	reader->at += 2;
	return add_point(reader, point);
}

static const char *translate_letter(struct reader *reader, char letter)
{
	switch (letter) {
	case 's':
	case 'S':
		return translate_spaces(reader, letter == 's');
	case 'p':
	case 'P':
		return translate_property(reader, letter);
	case 'u':
		return translate_unicode(reader);
	case 'x':
		return translate_hex(reader);
	case 'v':
		return add_point(reader, 0x0b);
	case 'c':
		if (!isalpha((unsigned char)*reader->at))
			return "\\c wants a letter";
		return add_point(reader, *reader->at++ & 0x1f);
	case 'b':
		if (reader->in_class)
			return add_point(reader, 8);
		break;
	case 'B':
	case 'k':
		if (reader->in_class)
			return "an escape that is not known in a class";
		break;
	default:
		if (!strchr("dDwWtnrf", letter))
			return "an escape that is not known";
	}
	strbuf_printf(reader->out, "\\%c", letter);
	return NULL;
}

static const char *translate_escape(struct reader *reader)
{
	char letter = *reader->at;

	if (!letter)
		return "a backslash at the end";
	reader->at++;
	reader->quantifiable = letter != 'b' && letter != 'B';
	if (isalpha((unsigned char)letter))
		return translate_letter(reader, letter);
	if (letter == '0')
		return isdigit((unsigned char)*reader->at) ? "octal escapes are not known"
							   : add_point(reader, 0);
	if (isdigit((unsigned char)letter) && reader->in_class)
		return "a back reference in a class";
	/* The first byte of a longer character stands for itself. */
	strbuf_printf(reader->out, (unsigned char)letter < 0x80 ? "\\%c" : "%c", letter);
	return NULL;
}

static const char *translate_class_char(struct reader *reader)
{
	char c = *reader->at++;

	switch (c) {
	case '\\':
		return translate_escape(reader);
	case '[': /* else [[:alpha:]] would be Perl's */
		strbuf_addstr(reader->out, "\\[");
		return NULL;
	case ']':
		reader->in_class = false;
		reader->quantifiable = true;
		break;
	}
	strbuf_addch(reader->out, c);
	return NULL;
}

static const char *translate_group(struct reader *reader)
{
	static const char *const openings[] = { "?:", "?=", "?!", "?<=", "?<!" };
	const char *at = reader->at;
	size_t bytes = 0;

	reader->quantifiable = false;
	strbuf_addch(reader->out, '(');
	if (*at == '*')
		return "nothing to repeat";
	if (*at != '?')
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(openings); i++) {
		if (strncmp(at, openings[i], strlen(openings[i])) == 0)
			bytes = strlen(openings[i]);
	}
	if (!bytes && at[1] == '<') {
		bytes = 2 + strcspn(at + 2, ">");
		bytes = at[bytes] == '>' ? bytes + 1 : 0;
	}
	if (!bytes)
		return "a kind of group that is not known";
	strbuf_add(reader->out, at, bytes);
	reader->at += bytes;
	return NULL;
}

/* Length of {n}, {n,} or {n,m} at this place, or 0. */
static size_t count_braces(const char *at)
{
	size_t bytes = 1 + strspn(at + 1, "0123456789");

	if (bytes == 1)
		return 0;
	if (at[bytes] == ',')
		bytes += 1 + strspn(at + bytes + 1, "0123456789");
	return at[bytes] == '}' ? bytes + 1 : 0;
}

static const char *translate_quantifier(struct reader *reader)
{
	size_t bytes = *reader->at == '{' ? count_braces(reader->at) : 1;

	if (!bytes) {
		strbuf_addstr(reader->out, "\\{");
		reader->at++;
		reader->quantifiable = true;
		return NULL;
	}
	if (!reader->quantifiable)
		return "nothing to repeat";
	strbuf_add(reader->out, reader->at, bytes);
	reader->at += bytes;
	if (*reader->at == '?') {
		strbuf_addch(reader->out, '?');
		reader->at++;
	}
	/* Perl's a++ and a*+ are not repeated either. */
	reader->quantifiable = false;
	return NULL;
}

static const char *translate_char(struct reader *reader)
{
	char c = *reader->at;

	if (strchr("*+?{", c))
		return translate_quantifier(reader);
	reader->at++;
	switch (c) {
	case '\\':
		return translate_escape(reader);
	case '[':
		reader->in_class = true;
		strbuf_addch(reader->out, '[');
		if (*reader->at == '^')
			strbuf_addch(reader->out, *reader->at++);
		return NULL;
	case '(':
		return translate_group(reader);
	case '.':
		strbuf_addstr(reader->out, "[^\\n\\r\\x{2028}\\x{2029}]");
		reader->quantifiable = true;
		return NULL;
	case '^':
	case '$':
	case '|':
		reader->quantifiable = false;
		break;
	default:
		reader->quantifiable = true;
	}
	strbuf_addch(reader->out, c);
	return NULL;
}

const char *schema_ecma_translate(const char *pattern, struct strbuf *out)
{
	struct reader reader = { .at = pattern, .out = out };
	const char *why = NULL;

	while (!why && *reader.at)
		why = reader.in_class ? translate_class_char(&reader) : translate_char(&reader);
	if (!why && reader.in_class)
		why = "a class without its end";
	return why;
}
