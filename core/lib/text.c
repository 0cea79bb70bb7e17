/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one way by which strings from outside reach a terminal or a log. */
#include "core/lib/text.h"

#include <string.h>

#include "core/lib/util.h"

/* Two paths and the words around them. */
#define LINE_MAX_BYTES 9216
/* Lines of usual length go out in one write(2), also where the stream is not buffered. */
#define PIECE 1024

size_t text_char(const char *str, size_t left, uint32_t *c)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *s = (const unsigned char *)str;
	size_t n = s[0] < 0x80		   ? 1
		   : (s[0] & 0xe0) == 0xc0 ? 2
		   : (s[0] & 0xf0) == 0xe0 ? 3
		   : (s[0] & 0xf8) == 0xf0 ? 4
					   : 0;
	uint32_t v;

	if (!n || n > left)
		return 0;
	v = n == 1 ? s[0] : s[0] & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (s[i] & 0x3f);
	}
	/* no second spelling, no half of a UTF-16 pair */
	if (v < smallest[n] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
		return 0;
	*c = v;
	return n;
}

bool text_is_plain(uint32_t c)
{
	static const struct {
		uint32_t first, last;
	} not_plain[] = {
		{ 0, 0x1f },	      { 0x7f, 0x9f }, /* controls */
		{ 0xad, 0xad },	      { 0x34f, 0x34f },	    { 0x61c, 0x61c },
		{ 0x180b, 0x180f },   { 0x200b, 0x200f },   { 0x2028, 0x202e },
		{ 0x2060, 0x206f }, /* separators, directions */
		{ 0xfeff, 0xfeff },   { 0xfff0, 0xffff },   { 0x1bca0, 0x1bca3 },
		{ 0x1d173, 0x1d17a }, { 0xe0000, 0xe0fff },
	};

	for (size_t i = 0; i < ARRAY_SIZE(not_plain); i++)
		if (c >= not_plain[i].first && c <= not_plain[i].last)
			return false;
	return true;
}

/* What is next in @s as it is shown, at most 16 bytes; how much of @s that was. */
static size_t next_shown(const char *s, size_t left, char shown[17])
{
	size_t n, i;
	uint32_t c;

	n = text_char(s, left, &c);
	if (n && text_is_plain(c)) {
		memcpy(shown, s, n);
		shown[n] = '\0';
		if (c == '\\')
			strcpy(shown, "\\\\");
		return n;
	}
	n = n ? n : 1;
	for (i = 0; i < n; i++)
		snprintf(shown + 4 * i, 5, "\\x%02x", (unsigned char)s[i]);
	return n;
}

size_t text_escape(char *out, size_t size, const char *s, size_t len)
{
	size_t at = 0, used = 0, n;
	char shown[17];

	for (; at < len && used < size; used += n) {
		at += next_shown(s + at, len - at, shown);
		n = strlen(shown);
		if (used + n >= size)
			break;
		memcpy(out + used, shown, n);
	}
	if (size)
		out[used] = '\0';
	return used;
}

void text_vline(FILE *f, const char *fmt, va_list ap)
{
	char line[LINE_MAX_BYTES], piece[PIECE], shown[17];
	size_t used = 0, len, n;
	int want = vsnprintf(line, sizeof(line), fmt, ap);

	len = want < 0 ? 0 : strlen(line);
	flockfile(f);
	for (size_t at = 0; at < len;) {
		at += next_shown(line + at, len - at, shown);
		n = strlen(shown);
		if (used + n > sizeof(piece)) {
			fwrite(piece, 1, used, f);
			used = 0;
		}
		memcpy(piece + used, shown, n);
		used += n;
	}
	if (used == sizeof(piece)) {
		fwrite(piece, 1, used, f);
		used = 0;
	}
	piece[used++] = '\n';
	fwrite(piece, 1, used, f);
	funlockfile(f);
}

void text_line(FILE *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	text_vline(f, fmt, ap);
	va_end(ap);
}
