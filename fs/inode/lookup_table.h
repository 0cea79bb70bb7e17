/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A table of numbers by inode number: open addressing, 16 bytes a slot. */
#ifndef FS_INODE_LOOKUP_TABLE_H
#define FS_INODE_LOOKUP_TABLE_H

#include <stdint.h>

struct lookup_table {
	struct {
		uint64_t ino, count;
	} * slots;
	uint64_t nr_slots, used;
};

/* Room for @more inodes.  -ENOMEM. */
int lookup_table_reserve(struct lookup_table *lk, uint64_t more);

/* The slot of @ino, or the one where it belongs (whose count is 0).  There must be slots. */
uint64_t lookup_table_find(const struct lookup_table *lk, uint64_t ino);
uint64_t lookup_table_count(const struct lookup_table *lk, uint64_t ino);
void lookup_table_delete(struct lookup_table *lk, uint64_t slot);
void lookup_table_free(struct lookup_table *lk); /* empty, and good for use again */

#endif
