/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Integrity profiles: how one interval's tuple is made and compared.  The
 * 16-byte tuples are tallyfs's own; the 8-byte ones are those of T10 PI, whose
 * escape values (tags of all ones) switch checking off for an interval.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "core/block/blk_priv.h"
#include "core/block/guard.h"

#define REF48_MASK ((UINT64_C(1) << 48) - 1)
#define T10_APP_ESCAPE 0xffffu
#define T10_REF_ESCAPE 0xffffffffu

static struct {
	atomic_ullong generated, verified, mismatches;
} counters;

void integrity_count(uint64_t generated, uint64_t verified, uint64_t mismatches)
{
	if (generated)
		atomic_fetch_add_explicit(&counters.generated, generated, memory_order_relaxed);
	if (verified)
		atomic_fetch_add_explicit(&counters.verified, verified, memory_order_relaxed);
	if (mismatches)
		atomic_fetch_add_explicit(&counters.mismatches, mismatches, memory_order_relaxed);
}

void integrity_get_stats(struct integrity_stats *st)
{
	st->generated = atomic_load(&counters.generated);
	st->verified = atomic_load(&counters.verified);
	st->mismatches = atomic_load(&counters.mismatches);
}

static int mismatch(struct integrity_iter *it, const char *what, uint64_t expected, uint64_t found)
{
	it->bad_ref = it->seed;
	it->what = what;
	it->expected = expected;
	it->found = found;
	return -EILSEQ;
}

static void next_interval(struct integrity_iter *it, unsigned int tuple_size)
{
	it->data_buf = (const char *)it->data_buf + it->interval;
	it->data_size -= it->interval;
	it->prot_buf = (char *)it->prot_buf + tuple_size;
	it->seed++;
}

/* The 16-byte tuple */

typedef uint64_t guard64_fn(const void *data, size_t len, uint64_t key);

static uint64_t ref48_get(const struct tuple16 *t)
{
	uint64_t v = 0;

	memcpy(&v, t->ref, sizeof(t->ref));
	return le64toh(v);
}

static inline int generate16(struct integrity_iter *it, guard64_fn *guard)
{
	while (it->data_size) {
		struct tuple16 *t = it->prot_buf;
		uint64_t ref = htole64(it->seed & REF48_MASK);

		t->guard = le64_of(guard(it->data_buf, it->interval, it->key));
		t->app = le16_of(it->app);
		memcpy(t->ref, &ref, sizeof(t->ref));
		next_interval(it, sizeof(*t));
	}
	return 0;
}

/* The tags first: they cost nothing, and a wrong block number tells more than a wrong guard. */
static inline int verify16(struct integrity_iter *it, guard64_fn *guard)
{
	while (it->data_size) {
		const struct tuple16 *t = it->prot_buf;
		uint64_t found;

		if (ref48_get(t) != (it->seed & REF48_MASK))
			return mismatch(it, "ref tag", it->seed & REF48_MASK, ref48_get(t));
		if (it->app && le16_get(t->app) != it->app)
			return mismatch(it, "app tag", it->app, le16_get(t->app));
		found = guard(it->data_buf, it->interval, it->key);
		if (found != le64_get(t->guard))
			return mismatch(it, "guard", le64_get(t->guard), found);
		next_interval(it, sizeof(*t));
	}
	return 0;
}

static int xxh3_generate(struct integrity_iter *it)
{
	return generate16(it, guard_xxh3);
}

static int xxh3_verify(struct integrity_iter *it)
{
	return verify16(it, guard_xxh3);
}

static int crc32_generate(struct integrity_iter *it)
{
	return generate16(it, guard_crc32);
}

static int crc32_verify(struct integrity_iter *it)
{
	return verify16(it, guard_crc32);
}

/* The 8-byte tuple */

typedef uint16_t guard16_fn(const void *data, size_t len);

static uint32_t be_get(const uint8_t *p, unsigned int bytes)
{
	uint32_t v = 0;

	while (bytes--)
		v = v << 8 | *p++;
	return v;
}

static void be_set(uint8_t *p, unsigned int bytes, uint32_t v)
{
	while (bytes--) {
		p[bytes] = (uint8_t)v;
		v >>= 8;
	}
}

static inline int generate8(struct integrity_iter *it, guard16_fn *guard, int type)
{
	while (it->data_size) {
		struct t10_tuple *t = it->prot_buf;

		be_set(t->guard, 2, guard(it->data_buf, it->interval));
		be_set(t->app, 2, it->app);
		be_set(t->ref, 4, type == 3 ? 0 : (uint32_t)it->seed);
		next_interval(it, sizeof(*t));
	}
	return 0;
}

static bool escapes(const struct t10_tuple *t, int type)
{
	if (be_get(t->app, 2) != T10_APP_ESCAPE)
		return false;
	return type != 3 || be_get(t->ref, 4) == T10_REF_ESCAPE;
}

static inline int verify8(struct integrity_iter *it, guard16_fn *guard, int type)
{
	for (; it->data_size; next_interval(it, sizeof(struct t10_tuple))) {
		const struct t10_tuple *t = it->prot_buf;
		uint16_t found;

		if (escapes(t, type))
			continue;
		if (type != 3 && be_get(t->ref, 4) != (uint32_t)it->seed)
			return mismatch(it, "ref tag", (uint32_t)it->seed, be_get(t->ref, 4));
		if (it->app && be_get(t->app, 2) != it->app)
			return mismatch(it, "app tag", it->app, be_get(t->app, 2));
		found = guard(it->data_buf, it->interval);
		if (found != be_get(t->guard, 2))
			return mismatch(it, "guard", be_get(t->guard, 2), found);
	}
	return 0;
}

static int type1_crc_generate(struct integrity_iter *it)
{
	return generate8(it, guard_t10_crc, 1);
}

static int type1_crc_verify(struct integrity_iter *it)
{
	return verify8(it, guard_t10_crc, 1);
}

static int type1_ip_generate(struct integrity_iter *it)
{
	return generate8(it, guard_ip, 1);
}

static int type1_ip_verify(struct integrity_iter *it)
{
	return verify8(it, guard_ip, 1);
}

static int type3_crc_generate(struct integrity_iter *it)
{
	return generate8(it, guard_t10_crc, 3);
}

static int type3_crc_verify(struct integrity_iter *it)
{
	return verify8(it, guard_t10_crc, 3);
}

static int type3_ip_generate(struct integrity_iter *it)
{
	return generate8(it, guard_ip, 3);
}

static int type3_ip_verify(struct integrity_iter *it)
{
	return verify8(it, guard_ip, 3);
}

#define TUPLE16_TAG                                          \
	.tuple_size = sizeof(struct tuple16), .tag_size = 2, \
	.tag_offset = offsetof(struct tuple16, app)
#define TYPE1_TAG                                              \
	.tuple_size = sizeof(struct t10_tuple), .tag_size = 2, \
	.tag_offset = offsetof(struct t10_tuple, app)
/* Type 3 gives the reference tag to the application as well. */
#define TYPE3_TAG                                              \
	.tuple_size = sizeof(struct t10_tuple), .tag_size = 6, \
	.tag_offset = offsetof(struct t10_tuple, app)

const struct integrity_profile profile_xxh3_64 = {
	.name = "xxh3-64", .generate_fn = xxh3_generate, .verify_fn = xxh3_verify, TUPLE16_TAG
};
const struct integrity_profile profile_crc32 = {
	.name = "crc32", .generate_fn = crc32_generate, .verify_fn = crc32_verify, TUPLE16_TAG
};
const struct integrity_profile profile_t10_type1_crc = { .name = "t10-dif-type1-crc",
							 .generate_fn = type1_crc_generate,
							 .verify_fn = type1_crc_verify,
							 TYPE1_TAG };
const struct integrity_profile profile_t10_type1_ip = { .name = "t10-dif-type1-ip",
							.generate_fn = type1_ip_generate,
							.verify_fn = type1_ip_verify,
							TYPE1_TAG };
const struct integrity_profile profile_t10_type3_crc = { .name = "t10-dif-type3-crc",
							 .generate_fn = type3_crc_generate,
							 .verify_fn = type3_crc_verify,
							 TYPE3_TAG };
const struct integrity_profile profile_t10_type3_ip = { .name = "t10-dif-type3-ip",
							.generate_fn = type3_ip_generate,
							.verify_fn = type3_ip_verify,
							TYPE3_TAG };

/* Buffers without a bio */

static struct integrity_iter buf_iter(const struct blk_integrity *bi, const void *data,
				      uint64_t first, unsigned int n, const void *tuples)
{
	return (struct integrity_iter){
		.prot_buf = (void *)tuples,
		.data_buf = data,
		.seed = first,
		.data_size = n << bi->interval_exp,
		.interval = 1u << bi->interval_exp,
		.key = bi->key,
	};
}

void blk_integrity_generate_buf(const struct blk_integrity *bi, const void *data, uint64_t first,
				unsigned int n, uint16_t app, void *tuples)
{
	struct integrity_iter it = buf_iter(bi, data, first, n, tuples);

	it.app = app;
	bi->profile->generate_fn(&it);
	integrity_count(n, 0, 0);
}

int blk_integrity_verify_buf(const struct blk_integrity *bi, const void *data, uint64_t first,
			     unsigned int n, uint16_t app, const void *tuples, unsigned int *bad)
{
	struct integrity_iter it = buf_iter(bi, data, first, n, tuples);
	int err;

	it.app = app;
	err = bi->profile->verify_fn(&it);
	integrity_count(0, n, err ? 1 : 0);
	if (err && bad)
		*bad = (unsigned int)(it.bad_ref - first);
	return err;
}
