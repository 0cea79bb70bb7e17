/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A table of numbers by inode number. */
#include <errno.h>
#include "core/lib/util.h"
#include "fs/inode/inode.h"
#include "fs/inode/lookup_table.h"

uint64_t lookup_table_find(const struct lookup_table *lk, uint64_t ino)
{
	uint64_t s = inode_hash(ino) & (lk->nr_slots - 1);

	while (lk->slots[s].count && lk->slots[s].ino != ino)
		s = (s + 1) & (lk->nr_slots - 1);
	return s;
}

static int table_grow(struct lookup_table *lk)
{
	struct lookup_table bigger = { .nr_slots = lk->nr_slots ? lk->nr_slots * 2 : 1024,
				       .used = lk->used };

	bigger.slots = tl_zalloc(bigger.nr_slots * sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	for (uint64_t s = 0; s < lk->nr_slots; s++) {
		if (lk->slots[s].count)
			bigger.slots[lookup_table_find(&bigger, lk->slots[s].ino)] = lk->slots[s];
	}
	tl_free(lk->slots);
	*lk = bigger;
	return 0;
}

/* At most three quarters full; on a failed growth it may fill up to one free slot. */
int lookup_table_reserve(struct lookup_table *lk, uint64_t more)
{
	if ((lk->used + more) * 4 <= lk->nr_slots * 3 || !table_grow(lk))
		return 0;
	return lk->used + more < lk->nr_slots ? 0 : -ENOMEM;
}

/* Deletion without tombstones: pull back those behind that would no longer be found. */
void lookup_table_delete(struct lookup_table *lk, uint64_t slot)
{
	uint64_t mask = lk->nr_slots - 1, hole = slot;

	lk->used--;
	for (uint64_t j = (slot + 1) & mask; lk->slots[j].count; j = (j + 1) & mask) {
		uint64_t home = inode_hash(lk->slots[j].ino) & mask;

		if (((j - home) & mask) >= ((j - hole) & mask)) {
			lk->slots[hole] = lk->slots[j];
			hole = j;
		}
	}
	lk->slots[hole].count = 0;
}

uint64_t lookup_table_count(const struct lookup_table *lk, uint64_t ino)
{
	return lk->nr_slots ? lk->slots[lookup_table_find(lk, ino)].count : 0;
}

void lookup_table_free(struct lookup_table *lk)
{
	tl_free(lk->slots);
	*lk = (struct lookup_table){ 0 };
}
