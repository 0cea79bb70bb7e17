/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: thin shells around libxxhash, ISA-L and zlib. */
#include "core/block/guard.h"

#include <endian.h>
#include <string.h>

#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h> /* picks the widest vectors of the machine at run time */
#else
#include <xxhash.h>
#endif

#ifdef HAVE_ISAL
#include <isa-l/crc.h>
#else
#include <pthread.h>
#include <zlib.h>
#endif

uint64_t guard_xxh3(const void *data, size_t len, uint64_t key)
{
	return XXH3_64bits_withSeed(data, len, key);
}

#ifdef HAVE_ISAL

static uint32_t crc32_add(uint32_t crc, const void *data, size_t len)
{
	return crc32_gzip_refl(crc, data, len);
}

uint16_t guard_t10_crc(const void *data, size_t len)
{
	return crc16_t10dif(0, data, len);
}

#else

static uint32_t crc32_add(uint32_t crc, const void *data, size_t len)
{
	return (uint32_t)crc32_z(crc, data, len);
}

static uint16_t t10_table[256];

static void fill_t10_table(void)
{
	unsigned int i, bit;

	for (i = 0; i < 256; i++) {
		uint16_t crc = (uint16_t)(i << 8);

		for (bit = 0; bit < 8; bit++)
			crc = (uint16_t)(crc & 0x8000 ? (crc << 1) ^ 0x8bb7 : crc << 1);
		t10_table[i] = crc;
	}
}

uint16_t guard_t10_crc(const void *data, size_t len)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const uint8_t *p = data;
	uint16_t crc = 0;

	pthread_once(&once, fill_t10_table);
	while (len--)
		crc = (uint16_t)((crc << 8) ^ t10_table[(crc >> 8) ^ *p++]);
	return crc;
}

#endif

uint64_t guard_crc32(const void *data, size_t len, uint64_t key)
{
	uint64_t le_key = htole64(key);

	return crc32_add(crc32_add(0, &le_key, sizeof(le_key)), data, len);
}

uint16_t guard_ip(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t sum = 0;
	uint32_t word;
	uint8_t odd[2] = { 0, 0 };
	uint16_t half;

	/*
	 * A one's complement sum of 16-bit words may be taken from wider words
	 * (and in either byte order) as long as the carries come back in.
	 */
	for (; len >= 4; p += 4, len -= 4) {
		memcpy(&word, p, 4);
		sum += word;
	}
	if (len >= 2) {
		memcpy(&half, p, 2);
		sum += half;
		p += 2;
		len -= 2;
	}
	if (len) {
		odd[0] = *p;
		memcpy(&half, odd, 2);
		sum += half;
	}
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return be16toh((uint16_t)~sum);
}
