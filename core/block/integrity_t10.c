/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The 8-byte tuples of T10 PI (docs/IO.md, row I1), whose escape values (tags of all ones) switch
 * checking off for an interval.  For devices of other programs: no tallyfs has them, and the daemon
 * uses none of these profiles.
 */
#include <stddef.h>
#include "core/block/blk_priv.h"
#include "core/block/guard.h"

#define T10_APP_ESCAPE 0xffffu
#define T10_REF_ESCAPE 0xffffffffu

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
		integrity_next_interval(it, sizeof(*t));
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
	for (; it->data_size; integrity_next_interval(it, sizeof(struct t10_tuple))) {
		const struct t10_tuple *t = it->prot_buf;
		uint16_t found;

		if (escapes(t, type))
			continue;
		if (type != 3 && be_get(t->ref, 4) != (uint32_t)it->seed)
			return integrity_mismatch(it, "ref tag", (uint32_t)it->seed,
						  be_get(t->ref, 4));
		if (it->app && be_get(t->app, 2) != it->app)
			return integrity_mismatch(it, "app tag", it->app, be_get(t->app, 2));
		found = guard(it->data_buf, it->interval);
		if (found != be_get(t->guard, 2))
			return integrity_mismatch(it, "guard", be_get(t->guard, 2), found);
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

#define TYPE1_TAG                                              \
	.tuple_size = sizeof(struct t10_tuple), .tag_size = 2, \
	.tag_offset = offsetof(struct t10_tuple, app)
/* Type 3 gives the reference tag to the application as well. */
#define TYPE3_TAG                                              \
	.tuple_size = sizeof(struct t10_tuple), .tag_size = 6, \
	.tag_offset = offsetof(struct t10_tuple, app)

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
