/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys: order, and to and from their form on disk. */
#include "fs/disk/btree_key.h"
#include "tallyfs/format.h"

int tkey_cmp(const struct tkey *a, const struct tkey *b)
{
	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	if (a->off != b->off)
		return a->off < b->off ? -1 : 1;
	if (a->snap != b->snap)
		return a->snap < b->snap ? -1 : 1;
	return 0;
}

struct tkey tkey_get(const struct tfs_key *k)
{
	return (struct tkey){ .ino = le64_get(k->ino),
			      .off = le64_get(k->off),
			      .snap = le32_get(k->snap),
			      .type = k->type };
}

struct tfs_key tkey_put(const struct tkey *k)
{
	return (struct tfs_key){ .ino = le64_of(k->ino),
				 .off = le64_of(k->off),
				 .snap = le32_of(k->snap),
				 .type = k->type };
}
