/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/disk/siphash.c: SipHash-2-4 against vectors published with it (key 00..0f, message 00, 01, 02
 * ... of each length), and the cookies made of it.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "core/lib/util.h"
#include "fs/disk/siphash.h"

static void first_bytes(uint8_t *p, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		p[i] = (uint8_t)i;
}

Test(siphash, published_vectors)
{
	/* the paper's example (15 bytes), and lengths around the word size from the reference
	 * implementation */
	static const struct {
		size_t len;
		uint64_t hash;
	} v[] = {
		{ 0, 0x726fdb47dd0e0e31 }, { 1, 0x74f839c593dc67fd },  { 2, 0x0d6c8009d9a94f5a },
		{ 3, 0x85676696d7fb7e2d }, { 4, 0xcf2794e0277187b7 },  { 5, 0x18765564cd99a68d },
		{ 6, 0xcbc9466e58fee3ce }, { 7, 0xab0200f58b01d137 },  { 8, 0x93f5f5799a932462 },
		{ 9, 0x9e0082df0ba9e4b0 }, { 15, 0xa129ca6149be45e5 }, { 63, 0x958a324ceb064572 }
	};
	uint8_t key[16], text[64];
	size_t i;

	first_bytes(key, sizeof(key));
	first_bytes(text, sizeof(text));
	for (i = 0; i < ARRAY_SIZE(v); i++)
		cr_expect_eq(siphash24(key, text, v[i].len), v[i].hash, "%zu bytes", v[i].len);
}

Test(siphash, any_alignment)
{
	uint8_t key[16], text[64], moved[80];
	size_t i;

	first_bytes(key, sizeof(key));
	first_bytes(text, sizeof(text));
	for (i = 0; i < 16; i++) {
		memcpy(moved + i, text, 64);
		cr_expect_eq(siphash24(key, moved + i, 63), 0x958a324ceb064572);
	}
}
