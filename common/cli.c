/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/lib/clock.h"
#include "core/lib/text.h"
#include "common/cli.h"

bool cli_parse_size(const char *s, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	unsigned long long v;
	unsigned int shift = 0;
	const char *u;
	char *end;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	v = strtoull(s, &end, 10);
	if (errno)
		return false;
	u = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
	if (u) {
		shift = 10 * (unsigned int)(u - units + 1);
		end++;
	}
	if (*end || v > UINT64_MAX >> shift)
		return false;
	*bytes = (uint64_t)v << shift;
	return true;
}

const char *cli_size(uint64_t bytes, char *buf, size_t size)
{
	static const char *const unit[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double v = (double)bytes;
	int i = 0;

	while (v >= 1024 && i < 6) {
		v /= 1024;
		i++;
	}
	snprintf(buf, size, i ? "%.1f %s" : "%.0f %s", v, unit[i]);
	return buf;
}

bool cli_parse_progress(const char *s, enum cli_progress_mode *mode)
{
	if (!strcmp(s, "auto"))
		*mode = CLI_PROGRESS_AUTO;
	else if (!strcmp(s, "always"))
		*mode = CLI_PROGRESS_ALWAYS;
	else if (!strcmp(s, "never"))
		*mode = CLI_PROGRESS_NEVER;
	else
		return false;
	return true;
}

void cli_progress_init(struct cli_progress *p, enum cli_progress_mode mode, bool json)
{
	memset(p, 0, sizeof(*p));
	p->json = json && mode != CLI_PROGRESS_NEVER;
	p->bar = !json && (mode == CLI_PROGRESS_ALWAYS ||
			   (mode == CLI_PROGRESS_AUTO && isatty(STDERR_FILENO)));
}

static void draw_bar(struct cli_progress *p, double frac, uint64_t left, double rate, bool bytes)
{
	char bar[31], size[32], tail[64] = "";
	int full = (int)(frac * 30);

	memset(bar, ' ', 30);
	memset(bar, '=', (size_t)full);
	bar[30] = '\0';
	if (bytes)
		snprintf(tail, sizeof(tail), "%s/s", cli_size((uint64_t)rate, size, sizeof(size)));
	fprintf(stderr, "\r\033[K%-8s [%s] %3.0f%% %s  %llu:%02llu left", p->phase, bar, frac * 100,
		tail, (unsigned long long)left / 60, (unsigned long long)left % 60);
	fflush(stderr);
	p->drawn = true;
}

static void json_status(const struct cli_progress *p, double frac, uint64_t done, uint64_t total,
			uint64_t left, bool bytes)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "message_type", json_object_new_string("status"));
	json_object_object_add(o, "phase", json_object_new_string(p->phase));
	json_object_object_add(o, "percent_done", json_object_new_double(frac * 100));
	if (bytes) {
		json_object_object_add(o, "bytes_done", json_object_new_uint64(done));
		json_object_object_add(o, "total_bytes", json_object_new_uint64(total));
	}
	json_object_object_add(o, "seconds_remaining", json_object_new_uint64(left));
	cli_json_end(o);
}

void cli_progress_update(struct cli_progress *p, const char *phase, uint64_t done, uint64_t total,
			 bool bytes)
{
	uint64_t now, left;
	double frac, seconds, rate;

	if (!p->bar && !p->json)
		return;
	now = now_ns();
	if (strcmp(p->phase, phase)) {
		snprintf(p->phase, sizeof(p->phase), "%s", phase);
		p->start_ns = now;
		p->last_ns = now;
		return;
	}
	if (now - p->last_ns < (p->json ? 1000000000u : 100000000u))
		return;
	p->last_ns = now;
	frac = total ? (double)(done < total ? done : total) / (double)total : 1;
	seconds = (double)(now - p->start_ns) / 1e9;
	rate = (double)done / seconds;
	left = rate > 0 && total > done ? (uint64_t)((double)(total - done) / rate) : 0;
	if (p->json)
		json_status(p, frac, done, total, left, bytes);
	else
		draw_bar(p, frac, left, rate, bytes);
}

void cli_progress_clear(struct cli_progress *p)
{
	if (p->drawn)
		fputs("\r\033[K", stderr);
	p->drawn = false;
}

struct json_object *cli_json_begin(const char *command)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "tallyfs_json", json_object_new_int(1));
	json_object_object_add(o, "command", json_object_new_string(command));
	return o;
}

/* JSON has an escape of its own for every character; what is no text cannot be in it (see
 * cli_json_path). */
static void print_json_char(const char *s, size_t n, uint32_t c)
{
	if (n && text_is_plain(c)) {
		fwrite(s, 1, n, stdout);
	} else if (!n) {
		fputs("\\ufffd", stdout);
	} else if (c < 0x10000) {
		printf("\\u%04x", c);
	} else {
		c -= 0x10000;
		printf("\\u%04x\\u%04x", 0xd800 + (c >> 10), 0xdc00 + (c & 0x3ff));
	}
}

void cli_json_print(struct json_object *o)
{
	const char *s = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
								  JSON_C_TO_STRING_NOSLASHESCAPE);
	size_t left = strlen(s), n, step;
	uint32_t c = 0;

	for (; left; s += step, left -= step) {
		n = text_char(s, left, &c);
		step = n ? n : 1;
		print_json_char(s, n, c);
	}
}

void cli_json_end(struct json_object *o)
{
	cli_json_print(o);
	putchar('\n');
	fflush(stdout);
	json_object_put(o);
}

static void add_b64(struct json_object *o, const char *key, const unsigned char *s, size_t len)
{
	static const char abc[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *out = malloc((len + 2) / 3 * 4 + 1), *p = out;
	char name[64];

	if (!out)
		return;
	for (size_t i = 0; i < len; i += 3) {
		uint32_t v = (uint32_t)s[i] << 16 | (i + 1 < len ? s[i + 1] << 8 : 0) |
			     (i + 2 < len ? s[i + 2] : 0);

		*p++ = abc[v >> 18];
		*p++ = abc[v >> 12 & 63];
		*p++ = i + 1 < len ? abc[v >> 6 & 63] : '=';
		*p++ = i + 2 < len ? abc[v & 63] : '=';
	}
	*p = '\0';
	snprintf(name, sizeof(name), "%s_b64", key);
	json_object_object_add(o, name, json_object_new_string(out));
	free(out);
}

void cli_json_path(struct json_object *o, const char *key, const char *name, size_t len)
{
	char *out = malloc(4 * len + 1), *p = out;
	bool odd = false;
	uint32_t c;

	if (!out)
		return;
	*p = '\0'; /* for an empty name */
	for (size_t i = 0, n; i < len; i += n) {
		n = text_char(name + i, len - i, &c);
		if (n) {
			memcpy(p, name + i, n);
			p += n;
			continue;
		}
		p += sprintf(p, "\\x%02x", (unsigned char)name[i]);
		n = 1;
		odd = true;
	}
	json_object_object_add(o, key, json_object_new_string_len(out, (int)(p - out)));
	free(out);
	if (odd)
		add_b64(o, key, (const unsigned char *)name, len);
}

void cli_json_hex(struct json_object *o, const char *key, uint64_t v)
{
	char hex[19];

	snprintf(hex, sizeof(hex), "0x%016llx", (unsigned long long)v);
	json_object_object_add(o, key, json_object_new_string(hex));
}

int cli_option_error(const char *program, int c, char **argv)
{
	/* getopt_long tells a letter, or the value that stands for a long option, or 0 for one that
	 * it does not know */
	bool is_long = !optopt || optopt > 0xff, known = c == ':' || (is_long && optopt);
	char letter[] = { '-', (char)optopt, '\0' };

	text_err("%s: %s %s; see %s --help", program,
		 !known	    ? "unknown option"
		 : c == ':' ? "a value is missing behind"
			    : "no value goes with",
		 is_long ? argv[optind - 1] : letter, program);
	return -1;
}
