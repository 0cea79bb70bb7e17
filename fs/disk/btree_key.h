/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys of the trees. */
#ifndef FS_DISK_BTREE_KEY_H
#define FS_DISK_BTREE_KEY_H

#include "tallyfs/format.h"

/* A key in native form. */
struct tkey {
	uint64_t ino, off;
	uint32_t snap;
	uint8_t type;
};
#define TKEY(i, t, o) ((struct tkey){ .ino = (i), .off = (o), .type = (t) })
int tkey_cmp(const struct tkey *a, const struct tkey *b);
struct tkey tkey_get(const struct tfs_key *k);
struct tfs_key tkey_put(const struct tkey *k);

#endif
