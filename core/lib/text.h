/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Text for people.  Names, labels and arguments come from strangers: a terminal obeys what is in
 * them, and a reader believes it.  So whatever is shown goes through here, and comes out as valid
 * UTF-8 without controls.
 */
#ifndef CORE_TEXT_H
#define CORE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Length of the UTF-8 character at @s (of @left bytes, at least 1), and the character; 0: it is
 * none. */
size_t text_char(const char *s, size_t left, uint32_t *c);
/* May it be shown as it is?  Not: controls (C0, DEL, C1), what is invisible, what turns the
 * direction of the rest. */
bool text_is_plain(uint32_t c);

/*
 * @len bytes of @s into @out, always ended with 0: each byte that is not part of a plain character
 * becomes \xHH, a backslash two, so that nothing else looks like it.  What does not fit is left
 * out.  The length.
 */
size_t text_escape(char *out, size_t size, const char *s, size_t len);

/* One line, escaped as a whole, so that it remains one line, and the newline behind it. */
void text_line(FILE *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_vline(FILE *f, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
#define text_out(...) text_line(stdout, __VA_ARGS__)
#define text_err(...) text_line(stderr, __VA_ARGS__)

#endif
