/* SPDX-License-Identifier: GPL-2.0-or-later */
/* core/block/guard.c: guards against published answers. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/block/guard.h"
#include "core/lib/util.h"

#define PRIME32 UINT64_C(2654435761)
#define PRIME64 UINT64_C(11400714785074694797)

/* From xxHash's own self-test, whose input is this generator. */
Test(guard, xxh3_known_answers)
{
	static const struct {
		size_t len;
		uint64_t seed, want;
	} t[] = {
		{ 0, 0, 0x2D06800538D394C2 },	 { 0, PRIME64, 0xA8A6B918B2F0364A },
		{ 1, 0, 0xC44BDFF4074EECDB },	 { 1, PRIME64, 0x032BE332DD766EF8 },
		{ 6, 0, 0x27B56A84CD2D7325 },	 { 6, PRIME64, 0x84589C116AB59AB9 },
		{ 12, 0, 0xA713DAF0DFBB77E7 },	 { 12, PRIME64, 0xE7303E1B2336DE0E },
		{ 24, 0, 0xA3FE70BF9D3510EB },	 { 24, PRIME64, 0x850E80FC35BDD690 },
		{ 48, 0, 0x397DA259ECBA1F11 },	 { 48, PRIME64, 0xADC2CBAA44ACC616 },
		{ 80, 0, 0xBCDEFBBB2C47C90A },	 { 80, PRIME64, 0xC6DD0CB699532E73 },
		{ 195, 0, 0xCD94217EE362EC3A },	 { 195, PRIME64, 0xBA68003D370CB3D9 },
		{ 403, 0, 0xCDEB804D65C6DEA4 },	 { 403, PRIME64, 0x6259F6ECFD6443FD },
		{ 512, 0, 0x617E49599013CB6B },	 { 512, PRIME64, 0x3CE457DE14C27708 },
		{ 2048, 0, 0xDD59E2C3A5F038E0 }, { 2048, PRIME64, 0x66F81670669ABABC },
		{ 2367, 0, 0xCB37AEB9E5D361ED }, { 2367, PRIME64, 0xD2DB3415B942B42A },
	};
	uint8_t buf[2367];
	uint64_t gen = PRIME32;
	size_t i;

	for (i = 0; i < sizeof(buf); i++) {
		buf[i] = (uint8_t)(gen >> 56);
		gen *= PRIME64;
	}
	for (i = 0; i < ARRAY_SIZE(t); i++)
		cr_expect_eq(guard_xxh3(buf, t[i].len, t[i].seed), t[i].want,
			     "length %zu seed %llx", t[i].len, (unsigned long long)t[i].seed);
}

Test(guard, crc32_known_answer)
{
	uint64_t key;

	/* The check value is that of "123456789"; the key supplies the first eight. */
	memcpy(&key, "12345678", 8);
	cr_assert_eq(guard_crc32("9", 1, le64toh(key)), 0xCBF43926);
	cr_assert_neq(guard_crc32("9", 1, le64toh(key) ^ 1), 0xCBF43926);
	/* CRC-32 of eight zero bytes */
	cr_assert_eq(guard_crc32("", 0, 0), 0x6522DF69);
}

Test(guard, t10_crc_known_answers)
{
	static uint8_t block[512];

	cr_assert_eq(guard_t10_crc("123456789", 9), 0xD0DB);
	cr_assert_eq(guard_t10_crc(block, sizeof(block)), 0);
	/* SBC-3's examples of a block of 32 bytes: all ones, and counting up */
	memset(block, 0xff, 32);
	cr_assert_eq(guard_t10_crc(block, 32), 0xA293);
	for (int i = 0; i < 32; i++)
		block[i] = (uint8_t)i;
	cr_assert_eq(guard_t10_crc(block, 32), 0x0224);
}

Test(guard, ip_checksum_of_rfc1071)
{
	static const uint8_t example[] = { 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7 };
	static uint8_t ones[65536];

	/* The RFC's sum is ddf2; the checksum is its complement. */
	cr_assert_eq(guard_ip(example, sizeof(example)), 0x220d);
	cr_assert_eq(guard_ip(example, 0), 0xffff);
	cr_assert_eq(guard_ip(example, 7), (uint16_t)~0xdcfb,
		     "an odd last byte counts as the high one");
	cr_assert_eq(guard_ip(example + 2, 2), (uint16_t)~0xf203);
	memset(ones, 0xff, sizeof(ones));
	cr_assert_eq(guard_ip(ones, sizeof(ones)), 0, "carries come back in, however many");
}
