/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash short enough for names. Whoever makes up
 * the names can't make them collide without knowing the key. */
#ifndef FS_DISK_SIPHASH_H
#define FS_DISK_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t siphash24(const uint8_t key[16], const void *data, size_t len); /* fs/disk/siphash.c */

#endif
