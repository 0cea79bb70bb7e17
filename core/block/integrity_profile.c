/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Integrity profiles: how one interval's tuple is made and compared.  Here are the 16-byte tuples,
 * which are tallyfs's own; integrity_t10.c has those of T10.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "core/block/blk_priv.h"
#include "core/block/guard.h"

#define REF48_MASK ((UINT64_C(1) << 48) - 1)

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

int integrity_mismatch(struct integrity_iter *it, const char *what, uint64_t expected,
		       uint64_t found)
{
	it->bad_ref = it->seed;
	it->what = what;
	it->expected = expected;
	it->found = found;
	return -EILSEQ;
}

void integrity_next_interval(struct integrity_iter *it, unsigned int tuple_size)
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
		integrity_next_interval(it, sizeof(*t));
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
			return integrity_mismatch(it, "ref tag", it->seed & REF48_MASK,
						  ref48_get(t));
		if (it->app && le16_get(t->app) != it->app)
			return integrity_mismatch(it, "app tag", it->app, le16_get(t->app));
		found = guard(it->data_buf, it->interval, it->key);
		if (found != le64_get(t->guard))
			return integrity_mismatch(it, "guard", le64_get(t->guard), found);
		integrity_next_interval(it, sizeof(*t));
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

#define TUPLE16_TAG                                          \
	.tuple_size = sizeof(struct tuple16), .tag_size = 2, \
	.tag_offset = offsetof(struct tuple16, app)
const struct integrity_profile profile_xxh3_64 = {
	.name = "xxh3-64", .generate_fn = xxh3_generate, .verify_fn = xxh3_verify, TUPLE16_TAG
};
const struct integrity_profile profile_crc32 = {
	.name = "crc32", .generate_fn = crc32_generate, .verify_fn = crc32_verify, TUPLE16_TAG
};
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
