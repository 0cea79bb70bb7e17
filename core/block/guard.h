/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: the checksums inside tuples, each by the fastest well-kept library on the machine. */
#ifndef CORE_GUARD_H
#define CORE_GUARD_H

#include <stddef.h>
#include <stdint.h>

/* XXH3-64 with @key as its seed. */
uint64_t guard_xxh3(const void *data, size_t len, uint64_t key);
/*
 * CRC-32 (zlib's polynomial) over the 8 little-endian bytes of @key followed by
 * the data, zero-extended to 64 bits.
 */
uint64_t guard_crc32(const void *data, size_t len, uint64_t key);
/* T10-DIF CRC-16 (polynomial 0x8BB7) and the Internet checksum (RFC 1071). */
uint16_t guard_t10_crc(const void *data, size_t len);
uint16_t guard_ip(const void *data, size_t len);

#endif
