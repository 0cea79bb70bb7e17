/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A command's JSON object, and printing it: as JSON or as text. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "common/cli.h"
#include "core/lib/text.h"
#include "core/lib/util.h"
#include "tools/dump.h"
#include "tools/dump_print.h"

/* ---- the object ---- */

void dump_u64(struct json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}

void dump_str(struct json_object *o, const char *key, const char *v)
{
	json_object_object_add(o, key, json_object_new_string(v));
}

void dump_time(struct json_object *o, const char *key, uint64_t sec, uint32_t nsec)
{
	time_t t = (time_t)sec;
	char buf[64], all[96];
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(buf, sizeof(buf), "%Y-%m-%dT%H:%M:%S", &tm))
		snprintf(buf, sizeof(buf), "%" PRId64, (int64_t)sec);
	snprintf(all, sizeof(all), "%s.%09uZ", buf, nsec);
	dump_str(o, key, all);
}

struct json_object *dump_array(struct json_object *o, const char *key)
{
	struct json_object *a = json_object_new_array();

	json_object_object_add(o, key, a);
	return a;
}

struct json_object *dump_row(struct json_object *array)
{
	struct json_object *o = json_object_new_object();

	json_object_array_add(array, o);
	return o;
}

/* ---- text ---- */

static bool is_one_word(const char *s)
{
	size_t left = strlen(s), n;
	uint32_t c = 0;

	if (!left)
		return false;
	for (; left; s += n, left -= n) {
		n = text_char(s, left, &c);
		if (!n || c == ' ' || c == '"' || c == '\\' || !text_is_plain(c))
			return false;
	}
	return true;
}

static void print_value(struct json_object *v)
{
	/* quoted as JSON has it when it is not plain */
	if (json_object_is_type(v, json_type_string) && is_one_word(json_object_get_string(v)))
		fputs(json_object_get_string(v), stdout);
	else
		cli_json_print(v);
}

static void print_row(struct json_object *row)
{
	fputs("   ", stdout);
	if (json_object_is_type(row, json_type_object)) {
		json_object_object_foreach(row, key, v)
		{
			printf(" %s=", key); /* keys are ours */
			print_value(v);
		}
	} else {
		putchar(' ');
		print_value(row);
	}
	putchar('\n');
}

static void print_rows(struct json_object *array)
{
	size_t i, n = json_object_array_length(array);

	for (i = 0; i < n; i++)
		print_row(json_object_array_get_idx(array, i));
}

static void print_text(struct json_object *o)
{
	json_object_object_foreach(o, key, v)
	{
		if (!strcmp(key, "tallyfs_json") || !strcmp(key, "command"))
			continue;
		if (json_object_is_type(v, json_type_array)) {
			text_out("%s:", key);
			print_rows(v);
			continue;
		}
		printf("%-18s ", key);
		print_value(v);
		putchar('\n');
	}
}

/* ---- rows that are too many to keep ---- */

void dump_later(struct dump *d, const char *key, dump_rows_fn *rows)
{
	assert(d->nr_later < ARRAY_SIZE(d->later));
	d->later[d->nr_later].key = key;
	d->later[d->nr_later++].rows = rows;
}

void dump_emit(struct dump *d, struct json_object *row)
{
	if (!d->json) {
		print_row(row);
	} else {
		if (d->nr_emitted++)
			putchar(',');
		cli_json_print(row);
	}
	json_object_put(row);
}

int dump_print(struct dump *d, struct json_object *o)
{
	char before = '{';
	int err = 0;

	if (!d->json) {
		print_text(o);
	} else {
		json_object_object_foreach(o, key, v)
		{
			printf("%c\"%s\":", before, key);
			cli_json_print(v);
			before = ',';
		}
	}
	for (unsigned int i = 0; i < d->nr_later && !err; i++) {
		if (d->json)
			printf(",\"%s\":[", d->later[i].key);
		else
			printf("%s:\n", d->later[i].key);
		d->nr_emitted = 0;
		err = d->later[i].rows(d, d->later_arg);
		if (d->json)
			putchar(']');
	}
	if (d->json)
		puts("}");
	fflush(stdout);
	return err;
}
