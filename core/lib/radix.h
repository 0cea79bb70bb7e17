/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A radix tree from 64-bit indices to pointers, 64 slots a node, with one tag
 * bit per item ("dirty"), summed up in the inner nodes so that tagged items are
 * found without visiting the others.  The caller provides all locking.
 */
#ifndef CORE_RADIX_H
#define CORE_RADIX_H

#include "core/lib/util.h"

struct radix_node;

struct radix_tree {
	struct radix_node *root;
	unsigned int height; /* levels; 0: empty */
};

void *radix_lookup(const struct radix_tree *t, uint64_t index);
/* 0, -ENOMEM, or -EEXIST.  @item must not be NULL. */
int radix_insert(struct radix_tree *t, uint64_t index, void *item);
/* What was there, or NULL.  Frees nodes that become empty. */
void *radix_delete(struct radix_tree *t, uint64_t index);
/* Exchange the item at @index, which must exist; its tag stays. */
void radix_replace(struct radix_tree *t, uint64_t index, void *item);
/* Returns whether the tag changed.  The item must exist. */
bool radix_tag_set(struct radix_tree *t, uint64_t index);
bool radix_tag_clear(struct radix_tree *t, uint64_t index);
/* First item (@tagged: tagged item) with an index >= *@index; its index goes to *@index.  NULL:
 * none. */
void *radix_next(const struct radix_tree *t, uint64_t *index, bool tagged);

#endif
