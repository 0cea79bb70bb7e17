/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long requests took: what tallyctl status makes of the daemon's histograms. */
#include "tools/ctl_latency.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/lib/hist.h"
#include "core/lib/text.h"
#include "core/lib/util.h"

#define KINDS_MAX 128
#define NAME_MAX_LEN 31

struct latencies {
	unsigned int nr;
	struct kind {
		char name[NAME_MAX_LEN + 1];
		struct hist hist;
	} kinds[KINDS_MAX];
};

struct latencies *latencies_new(void)
{
	return calloc(1, sizeof(struct latencies));
}

void latencies_free(struct latencies *l)
{
	free(l);
}

/* Figures of one kind come together. */
static struct kind *kind_of(struct latencies *l, const char *name, size_t len)
{
	struct kind *last = l->nr ? &l->kinds[l->nr - 1] : NULL;

	if (last && strlen(last->name) == len && !strncmp(last->name, name, len))
		return last;
	if (l->nr == KINDS_MAX || len > NAME_MAX_LEN)
		return NULL;
	last = &l->kinds[l->nr++];
	memcpy(last->name, name, len);
	return last;
}

void latencies_add(struct latencies *l, const char *name, uint64_t value)
{
	const char *dot = strrchr(name, '.');
	struct kind *k = dot ? kind_of(l, name, (size_t)(dot - name)) : NULL;

	if (k)
		hist_import(&k->hist, dot + 1, value);
}

/* ---- for people ---- */

/* The columns of the table end here; the last has no end. */
static const struct column {
	const char *title;
	uint64_t end; /* microseconds */
} columns[] = {
	{ "<4us", 1u << 2 },	{ "<16us", 1u << 4 }, { "<64us", 1u << 6 },  { "<256us", 1u << 8 },
	{ "<1ms", 1u << 10 },	{ "<4ms", 1u << 12 }, { "<16ms", 1u << 14 }, { "<66ms", 1u << 16 },
	{ "<262ms", 1u << 18 }, { "<1s", 1u << 20 },  { "<4s", 1u << 22 },   { "more", UINT64_MAX },
};

/* In at most 5 characters; nothing for 0. */
static const char *brief(char text[24], uint64_t n)
{
	static const char units[] = " kMGTPE";
	unsigned int u = 0;

	for (; n >= 10000 && u < sizeof(units) - 2; n /= 1000)
		u++;
	if (!n)
		return "";
	snprintf(text, 24, "%" PRIu64 "%.*s", n, u ? 1 : 0, &units[u]);
	return text;
}

static void print_spread(const struct kind *k)
{
	char line[256], number[24];
	int len = snprintf(line, sizeof(line), "  %-16s", k->name);
	unsigned int b = 0;

	for (unsigned int c = 0; c < ARRAY_SIZE(columns); c++) {
		uint64_t n = 0;

		for (; b < HIST_BUCKETS && hist_bucket_start(b) < columns[c].end; b++)
			n += atomic_load(&k->hist.count[b]);
		len += snprintf(line + len, sizeof(line) - (size_t)len, " %6s", brief(number, n));
	}
	while (line[len - 1] == ' ')
		line[--len] = '\0';
	text_out("%s", line);
}

void latencies_print(const struct latencies *l)
{
	char heads[128] = "";

	if (!l->nr)
		return;
	text_out("latency (microseconds)");
	text_out("  %-16s %10s %10s %10s %10s", "", "count", "median", "99%", "max");
	for (unsigned int i = 0; i < l->nr; i++) {
		const struct hist *h = &l->kinds[i].hist;

		text_out("  %-16s %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10llu",
			 l->kinds[i].name, hist_total(h), hist_percentile(h, 50),
			 hist_percentile(h, 99), atomic_load(&h->max));
	}
	text_out("how many took how long");
	for (unsigned int c = 0; c < ARRAY_SIZE(columns); c++)
		snprintf(heads + strlen(heads), sizeof(heads) - strlen(heads), " %6s",
			 columns[c].title);
	text_out("  %-16s%s", "", heads);
	for (unsigned int i = 0; i < l->nr; i++)
		print_spread(&l->kinds[i]);
}

/* ---- for programs ---- */

static struct json_object *buckets_json(const struct hist *h)
{
	struct json_object *list = json_object_new_array();

	for (unsigned int b = 0; b < HIST_BUCKETS; b++) {
		uint64_t n = atomic_load(&h->count[b]);
		struct json_object *o;

		if (!n)
			continue;
		o = json_object_new_object();
		json_object_object_add(o, "from_us", json_object_new_uint64(hist_bucket_start(b)));
		json_object_object_add(o, "count", json_object_new_uint64(n));
		json_object_array_add(list, o);
	}
	return list;
}

struct json_object *latencies_json(const struct latencies *l)
{
	struct json_object *all = json_object_new_object();

	for (unsigned int i = 0; i < l->nr; i++) {
		const struct hist *h = &l->kinds[i].hist;
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "count", json_object_new_uint64(hist_total(h)));
		json_object_object_add(o, "median_us",
				       json_object_new_uint64(hist_percentile(h, 50)));
		json_object_object_add(o, "p99_us", json_object_new_uint64(hist_percentile(h, 99)));
		json_object_object_add(o, "max_us", json_object_new_uint64(atomic_load(&h->max)));
		json_object_object_add(o, "buckets", buckets_json(h));
		json_object_object_add(all, l->kinds[i].name, o);
	}
	return all;
}
