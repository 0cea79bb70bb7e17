/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include "core/lib/radix.h"

#define RADIX_SHIFT 6
#define RADIX_SLOTS (1u << RADIX_SHIFT)

struct radix_node {
	struct radix_node *parent;
	uint8_t slot;		  /* in the parent */
	uint8_t level;		  /* 0: slots are items */
	uint64_t present, tagged; /* one bit per slot */
	void *slots[RADIX_SLOTS];
};

static unsigned int slot_of(uint64_t index, unsigned int level)
{
	unsigned int shift = level * RADIX_SHIFT;

	return shift > 63 ? 0 : (index >> shift) & (RADIX_SLOTS - 1);
}

static bool index_fits(const struct radix_tree *t, uint64_t index)
{
	unsigned int bits = t->height * RADIX_SHIFT;

	return bits > 63 || !(index >> bits);
}

static struct radix_node *find_leaf(const struct radix_tree *t, uint64_t index)
{
	struct radix_node *n = t->root;

	if (!n || !index_fits(t, index))
		return NULL;
	while (n && n->level)
		n = n->slots[slot_of(index, n->level)];
	return n;
}

void *radix_lookup(const struct radix_tree *t, uint64_t index)
{
	struct radix_node *n = find_leaf(t, index);

	return n ? n->slots[slot_of(index, 0)] : NULL;
}

static struct radix_node *node_new(unsigned int level)
{
	struct radix_node *n = tl_zalloc(sizeof(*n));

	if (n)
		n->level = level;
	return n;
}

static void node_link(struct radix_node *parent, unsigned int slot, struct radix_node *child)
{
	child->parent = parent;
	child->slot = slot;
	parent->slots[slot] = child;
	parent->present |= 1ULL << slot;
	if (child->tagged)
		parent->tagged |= 1ULL << slot;
}

/* Add levels on top until @index fits. */
static int tree_grow(struct radix_tree *t, uint64_t index)
{
	if (!t->root) {
		unsigned int level = index ? ilog2_u64(index) / RADIX_SHIFT : 0;

		t->root = node_new(level);
		if (!t->root)
			return -ENOMEM;
		t->height = level + 1;
	}
	while (!index_fits(t, index)) {
		struct radix_node *n = node_new(t->height);

		if (!n)
			return -ENOMEM;
		node_link(n, 0, t->root);
		t->root = n;
		t->height++;
	}
	return 0;
}

/* Remove empty nodes from @n upwards. */
static void prune(struct radix_tree *t, struct radix_node *n)
{
	while (n && !n->present) {
		struct radix_node *parent = n->parent;

		if (parent) {
			parent->slots[n->slot] = NULL;
			parent->present &= ~(1ULL << n->slot);
			parent->tagged &= ~(1ULL << n->slot);
		} else {
			t->root = NULL;
			t->height = 0;
		}
		tl_free(n);
		n = parent;
	}
	/* a file that shrank need not be walked at its former height */
	while (t->root && t->root->level && t->root->present == 1) {
		struct radix_node *old = t->root;

		t->root = old->slots[0];
		t->root->parent = NULL;
		t->height--;
		tl_free(old);
	}
}

int radix_insert(struct radix_tree *t, uint64_t index, void *item)
{
	struct radix_node *n, *child;
	int err = tree_grow(t, index);

	if (err) {
		prune(t, t->root);
		return err;
	}
	for (n = t->root; n->level; n = child) {
		unsigned int slot = slot_of(index, n->level);

		child = n->slots[slot];
		if (!child) {
			child = node_new(n->level - 1);
			if (!child) {
				prune(t, n);
				return -ENOMEM;
			}
			node_link(n, slot, child);
		}
	}
	if (n->slots[slot_of(index, 0)])
		return -EEXIST;
	n->slots[slot_of(index, 0)] = item;
	n->present |= 1ULL << slot_of(index, 0);
	return 0;
}

void *radix_delete(struct radix_tree *t, uint64_t index)
{
	struct radix_node *n = find_leaf(t, index);
	unsigned int slot = slot_of(index, 0);
	void *item = n ? n->slots[slot] : NULL;

	if (!item)
		return NULL;
	radix_tag_clear(t, index);
	n->slots[slot] = NULL;
	n->present &= ~(1ULL << slot);
	prune(t, n);
	return item;
}

void radix_replace(struct radix_tree *t, uint64_t index, void *item)
{
	struct radix_node *n = find_leaf(t, index);

	assert(n && n->slots[slot_of(index, 0)]);
	n->slots[slot_of(index, 0)] = item;
}

bool radix_tag_set(struct radix_tree *t, uint64_t index)
{
	struct radix_node *n = find_leaf(t, index);
	uint64_t bit = 1ULL << slot_of(index, 0);

	assert(n && (n->present & bit));
	if (n->tagged & bit)
		return false;
	while (n && !(n->tagged & bit)) {
		n->tagged |= bit;
		bit = 1ULL << n->slot;
		n = n->parent;
	}
	return true;
}

bool radix_tag_clear(struct radix_tree *t, uint64_t index)
{
	struct radix_node *n = find_leaf(t, index);
	uint64_t bit = 1ULL << slot_of(index, 0);

	if (!n || !(n->tagged & bit))
		return false;
	do {
		n->tagged &= ~bit;
		if (n->tagged)
			break;
		bit = 1ULL << n->slot;
		n = n->parent;
	} while (n);
	return true;
}

/* First candidate slot >= @slot of @n, or RADIX_SLOTS. */
static unsigned int next_slot(const struct radix_node *n, unsigned int slot, bool tagged)
{
	uint64_t bits = tagged ? n->tagged : n->present;

	if (slot >= RADIX_SLOTS)
		return RADIX_SLOTS;
	bits &= ~0ULL << slot;
	return bits ? (unsigned int)__builtin_ctzll(bits) : RADIX_SLOTS;
}

void *radix_next(const struct radix_tree *t, uint64_t *index, bool tagged)
{
	struct radix_node *n = t->root;
	uint64_t base = 0; /* index of n's first item */
	unsigned int slot;

	if (!n || !index_fits(t, *index))
		return NULL;
	slot = slot_of(*index, n->level);
	for (;;) {
		unsigned int found = next_slot(n, slot, tagged);
		unsigned int shift = n->level * RADIX_SHIFT;

		if (found == RADIX_SLOTS) {
			/* nothing more here: go on behind this node in its parent */
			if (!n->parent)
				return NULL;
			slot = n->slot + 1u;
			n = n->parent;
			shift = n->level * RADIX_SHIFT;
			base = shift + RADIX_SHIFT > 63
				       ? 0
				       : base >> (shift + RADIX_SHIFT) << (shift + RADIX_SHIFT);
			continue;
		}
		base |= (uint64_t)found << shift;
		if (!n->level) {
			*index = base;
			return n->slots[found];
		}
		/* only on the path that *index itself takes do lower slots not count */
		n = n->slots[found];
		slot = base == (*index >> shift << shift) ? slot_of(*index, n->level) : 0;
	}
}
