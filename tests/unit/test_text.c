/* SPDX-License-Identifier: GPL-2.0-or-later */
/* core/lib/text.c: what strangers wrote, made fit for a terminal. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "core/lib/text.h"

static const char *shown(const char *s, size_t len)
{
	static char out[256];

	cr_assert_eq(text_escape(out, sizeof(out), s, len), strlen(out));
	return out;
}

#define SHOWN(literal) shown(literal, sizeof(literal) - 1)

Test(text, plain_text_stays)
{
	cr_assert_str_eq(SHOWN(""), "");
	cr_assert_str_eq(SHOWN("a b~!\"'%$"), "a b~!\"'%$");
	cr_assert_str_eq(SHOWN("gr\xc3\xbc\xc3\x9f \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x98\x80"),
			 "gr\xc3\xbc\xc3\x9f \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x98\x80");
	cr_assert_str_eq(SHOWN("\xc2\xa0"), "\xc2\xa0");
}

Test(text, controls_are_escaped)
{
	cr_assert_str_eq(SHOWN("\033]0;x\007"), "\\x1b]0;x\\x07");
	cr_assert_str_eq(SHOWN("a\nb\r\tc\x7f"), "a\\x0ab\\x0d\\x09c\\x7f");
	cr_assert_str_eq(SHOWN("a\0b"), "a\\x00b");
	/* C1, as UTF-8 and as the byte itself */
	cr_assert_str_eq(SHOWN("\xc2\x9b"
			       "31m"),
			 "\\xc2\\x9b31m");
	cr_assert_str_eq(SHOWN("\xc2\x80\xc2\x9f"), "\\xc2\\x80\\xc2\\x9f");
	cr_assert_str_eq(SHOWN("\x9b"
			       "31m"),
			 "\\x9b31m");
}

Test(text, what_turns_or_hides_is_escaped)
{
	/* U+202A to U+202E, U+2066 to U+2069, U+200B, U+2028, U+FEFF, U+E0041 */
	cr_assert_str_eq(SHOWN("\xe2\x80\xaa\xe2\x80\xae"), "\\xe2\\x80\\xaa\\xe2\\x80\\xae");
	cr_assert_str_eq(SHOWN("\xe2\x81\xa6\xe2\x81\xa9"), "\\xe2\\x81\\xa6\\xe2\\x81\\xa9");
	cr_assert_str_eq(SHOWN("\xe2\x80\x8b\xe2\x80\xa8\xef\xbb\xbf"),
			 "\\xe2\\x80\\x8b\\xe2\\x80\\xa8\\xef\\xbb\\xbf");
	cr_assert_str_eq(SHOWN("\xf3\xa0\x81\x81"), "\\xf3\\xa0\\x81\\x81");
}

Test(text, what_is_no_utf8_is_escaped)
{
	uint32_t c = 0;

	/* alone, cut off, a second spelling, half a pair, too large */
	cr_assert_str_eq(SHOWN("a\xff\xfe"), "a\\xff\\xfe");
	cr_assert_str_eq(SHOWN("\xe6\x97"), "\\xe6\\x97");
	cr_assert_str_eq(SHOWN("\xc0\x8a\xe0\x80\x8a"), "\\xc0\\x8a\\xe0\\x80\\x8a");
	cr_assert_str_eq(SHOWN("\xed\xa0\x80"), "\\xed\\xa0\\x80");
	cr_assert_str_eq(SHOWN("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
	cr_assert_eq(text_char("\xf0\x9f\x98\x80", 4, &c), 4);
	cr_assert_eq(c, 0x1f600);
	cr_assert_eq(text_char("\xf0\x9f\x98\x80", 3, &c), 0);
}

/* Two strings never look alike. */
Test(text, escapes_cannot_be_forged)
{
	cr_assert_str_eq(SHOWN("\\x1b"), "\\\\x1b");
}

Test(text, what_does_not_fit_is_left_out_whole)
{
	char out[8];

	cr_assert_eq(text_escape(out, 5, "ab\ncd", 5), 2);
	cr_assert_str_eq(out, "ab");
	cr_assert_eq(text_escape(out, 1, "ab", 2), 0);
	cr_assert_str_eq(out, "");
}

static size_t line_of(char *buf, size_t size, int unbuffered, const char *s)
{
	FILE *f = tmpfile();
	size_t n;

	if (unbuffered)
		setvbuf(f, NULL, _IONBF, 0);
	text_line(f, "%s: %d", s, 5);
	rewind(f);
	n = fread(buf, 1, size - 1, f);
	buf[n] = '\0';
	fclose(f);
	return n;
}

Test(text, a_line_is_one_line)
{
	static char buf[32768], in[9001], want[32768];

	for (int unbuffered = 0; unbuffered < 2; unbuffered++) {
		line_of(buf, sizeof(buf), unbuffered, "a\nforged: clean");
		cr_assert_str_eq(buf, "a\\x0aforged: clean: 5\n");
		/* longer than what is written at a time, in every phase of it */
		for (size_t n = 1015; n <= 1030; n++) {
			memset(in, 'x', n);
			in[n] = '\0';
			snprintf(want, sizeof(want), "%s: 5\n", in);
			line_of(buf, sizeof(buf), unbuffered, in);
			cr_assert_str_eq(buf, want);
		}
		memset(in, '\033', 2000);
		in[2000] = '\0';
		cr_assert_eq(line_of(buf, sizeof(buf), unbuffered, in), 8004);
	}
}
