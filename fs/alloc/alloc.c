/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Claim maps, and the way of blocks through them:
 *
 *   free --alloc_data--> claimed --alloc_commit--> in use --alloc_free--> pending
 *     ^                                                                      |
 *     +---------------------------- alloc_release ---------------------------+
 *
 * In the claim map a block is set in every state but the first.  A group's map is
 * loaded when it is first looked at, and may be dropped again while no block
 * of the group is claimed or pending: then it equals the bitmap.
 */
#include <errno.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/lib/list.h"
#include "core/lib/util.h"
#include "fs/alloc/alloc.h"
#include "fs/alloc/alloc_int.h"
#include "fs/alloc/group_trans.h"
#include "fs/disk/block_bitmap.h"
#include "fs/disk/geom.h"
#include "fs/disk/group.h"
#include "fs/journal/buffer.h"
#include "fs/journal/journal.h"
#include "fs/journal/journal_tx.h"
#include "fs/journal/trans.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

int alloc_init(struct tfs_fs *fs)
{
	struct tfs_alloc *a = tl_zalloc(sizeof(*a));

	if (!a)
		return -ENOMEM;
	/* a large zeroed allocation: memory is only taken for groups that are looked at */
	a->groups = tl_zalloc(fs->geom.nr_groups * sizeof(*a->groups));
	if (!a->groups) {
		tl_free(a);
		return -ENOMEM;
	}
	pthread_mutex_init(&a->lock, NULL);
	pthread_mutex_init(&a->grow, NULL);
	pthread_cond_init(&a->freed, NULL);
	INIT_LIST_HEAD(&a->lru);
	a->open_groups = fs->cnt.groups_init;
	a->init_groups = fs->cnt.groups_init;
	a->thin = fs->bdev->thin && !fs->opts.ro;
	a->refused_left = UINT64_MAX;
	a->max_loaded = fs->opts.claim_maps ? fs->opts.claim_maps : AGROUP_MAX_LOADED;
	if (a->thin) {
		a->hidden = fs->cnt.free_blocks;
		a->nr_groups = fs->cnt.groups_init;
	} else {
		a->free = fs->cnt.free_blocks;
		a->slots = fs->cnt.free_slots;
		a->nr_groups = fs->geom.nr_groups;
	}
	fs->alloc = a;
	space_init(fs);
	alloc_note_growth(fs);
	return 0;
}

/* alloc->lock held.  Then it must equal the bitmap. */
static void drop_map(struct tfs_alloc *a, struct agroup *ag)
{
	tl_free(ag->map);
	ag->map = ag->hidden = NULL;
	list_del_init(&ag->lru);
	a->nr_loaded--;
}

void alloc_exit(struct tfs_fs *fs)
{
	struct tfs_alloc *a = fs->alloc;
	uint64_t group;

	if (!a)
		return;
	while (!list_empty(&a->lru))
		drop_map(a, list_first_entry(&a->lru, struct agroup, lru));
	for (group = 0; a->thin && group < fs->geom.nr_groups; group++)
		tl_free(a->groups[group].unbacked);
	pthread_mutex_destroy(&a->lock);
	pthread_mutex_destroy(&a->grow);
	pthread_cond_destroy(&a->freed);
	tl_free(a->groups);
	tl_free(a);
	fs->alloc = NULL;
}

void alloc_node_area(const struct tfs_geom *g, uint64_t group, uint32_t *from, uint32_t *to)
{
	uint64_t first = tfs_group_start(g, group), start = tfs_group_first_free(g, group);
	uint32_t nr = tfs_group_nr_blocks(g, group);

	/* behind the journal where that fills the front */
	if (g->journal_start >= start && g->journal_start - start < g->node_blocks + 4)
		start = g->journal_start + g->journal_blocks;
	*from = (uint32_t)min_t(uint64_t, start - first, nr);
	*to = min_t(uint32_t, nr, *from + max_t(uint32_t, nr / 16, 64));
}

/* ---- loading ---- */

static int copy_bitmap(struct tfs_trans *t, uint64_t group, void *map)
{
	struct tfs_fs *fs = t->fs;
	uint64_t *to = map;
	struct tfs_buf *b;
	uint32_t i;
	int err;

	group_fresh_bitmap(&fs->geom, group, map);
	if (group >= fs->cnt.groups_init)
		return 0;
	err = buf_get(t, tfs_group_bitmap_block(&fs->geom, group), BUF_BITMAP, &b);
	if (err)
		return err;
	/* what is never allocated stays so, whatever a hostile bitmap says */
	for (i = 0; i < fs->geom.block_size / 8; i++)
		to[i] |= ((const uint64_t *)buf_data(b))[i];
	buf_put(b);
	return 0;
}

/* Room for one more map.  alloc->lock held. */
static void evict(struct tfs_fs *fs)
{
	struct tfs_alloc *a = fs->alloc;
	struct agroup *ag, *n;

	if (a->nr_loaded < a->max_loaded)
		return;
	list_for_each_entry_safe(ag, n, &a->lru, lru) {
		if (ag->claimed || ag->pending)
			continue;
		if (a->thin)
			alloc_keep_unbacked(fs, ag);
		drop_map(a, ag);
		if (a->nr_loaded < a->max_loaded)
			return;
	}
}

static int load_group(struct tfs_trans *t, uint64_t group)
{
	struct tfs_fs *fs = t->fs;
	struct tfs_alloc *a = fs->alloc;
	struct agroup *ag = &a->groups[group];
	uint32_t nr = tfs_group_nr_blocks(&fs->geom, group);
	void *map = tl_alloc_aligned(8, (a->thin ? 2ul : 1ul) * fs->geom.block_size);
	void *unbacked = a->thin ? tl_alloc_aligned(8, fs->geom.block_size) : NULL;
	int err = map && (unbacked || !a->thin) ? copy_bitmap(t, group, map) : -ENOMEM;

	pthread_mutex_lock(&a->lock);
	if (err == -EUCLEAN || err == -EIO || err == -EPROTONOSUPPORT)
		ag->flags |= AGROUP_BAD;
	if (!err && !ag->map) {
		evict(fs);
		ag->map = map;
		map = NULL;
		if (a->thin)
			alloc_hide(fs, ag, &unbacked);
		ag->free = block_bitmap_count_clear(ag->map, 0, nr);
		ag->slots = block_bitmap_count_slots(ag->map, 0, nr, fs->geom.node_blocks);
		ag->max_run = AGROUP_RUN_UNKNOWN;
		ag->flags |= AGROUP_KNOWN;
		list_add_tail(&ag->lru, &a->lru);
		a->nr_loaded++;
	}
	pthread_mutex_unlock(&a->lock);
	tl_free(map);
	tl_free(unbacked);
	return err;
}

struct agroup *alloc_lock_group(struct tfs_trans *t, uint64_t group, int *err)
{
	struct tfs_alloc *a = t->fs->alloc;

	for (;;) {
		pthread_mutex_lock(&a->lock);
		if (a->groups[group].map) {
			*err = 0;
			return &a->groups[group];
		}
		pthread_mutex_unlock(&a->lock);
		*err = load_group(t, group);
		if (*err)
			return NULL;
	}
}

struct agroup *alloc_lock_group_sleep(struct tfs_fs *fs, uint64_t group, int *err)
{
	struct tfs_alloc *a = fs->alloc;
	struct tfs_trans t = { 0 };

	for (;;) {
		pthread_mutex_lock(&a->lock);
		if (a->groups[group].map) {
			*err = 0;
			return &a->groups[group];
		}
		pthread_mutex_unlock(&a->lock);
		do {
			trans_read_begin(&t, fs);
			*err = load_group(&t, group);
		} while (trans_again(&t, err));
		if (*err)
			return NULL;
	}
}

/* ---- claim map ---- */

void alloc_map_set(struct tfs_fs *fs, struct agroup *ag, uint32_t from, uint32_t to)
{
	uint32_t slots = block_bitmap_count_slots(ag->map, from, to, fs->geom.node_blocks);

	block_bitmap_set(ag->map, from, to);
	ag->free -= to - from;
	ag->slots -= slots;
	fs->alloc->free -= min_t(uint64_t, fs->alloc->free, to - from);
	fs->alloc->slots -= min_t(uint64_t, fs->alloc->slots, slots);
}

static void make_free(struct tfs_fs *fs, struct agroup *ag, uint32_t from, uint32_t to)
{
	uint32_t slots;

	block_bitmap_clear(ag->map, from, to);
	slots = block_bitmap_count_slots(ag->map, from, to, fs->geom.node_blocks);
	ag->free += to - from;
	ag->slots += slots;
	ag->max_run = AGROUP_RUN_UNKNOWN;
	ag->flags &= ~(unsigned int)AGROUP_NODES_FULL;
	fs->alloc->free += to - from;
	fs->alloc->slots += slots;
}

void alloc_map_clear(struct tfs_fs *fs, struct agroup *ag, uint32_t from, uint32_t to)
{
	uint32_t end;

	if (!ag->unbacked) {
		make_free(fs, ag, from, to);
		return;
	}
	for (; from < to; from = end) {
		if (!block_bitmap_test(ag->unbacked, from)) {
			end = block_bitmap_next_set(ag->unbacked, from, to);
			make_free(fs, ag, from, end);
		} else {
			end = block_bitmap_next_clear(ag->unbacked, from, to);
			alloc_unback(fs, ag, from, end);
			fs->alloc->hidden += end - from;
		}
	}
}

void alloc_note_growth(struct tfs_fs *fs)
{
	struct tfs_alloc *a = fs->alloc;
	/* several extents for the same blocks say nothing of the others' */
	uint64_t own =
		fs->cnt.nr_extents - min_t(uint64_t, fs->cnt.nr_extents, fs->cnt.shared_extents);
	uint64_t growth = fs->cnt.data_blocks - min_t(uint64_t, fs->cnt.data_blocks, own);

	pthread_mutex_lock(&a->lock);
	a->growth = growth;
	pthread_mutex_unlock(&a->lock);
}

/* ---- the bitmap on disk ---- */

static int bad_bits(struct tfs_fs *fs, uint64_t start, uint64_t n, bool set)
{
	return tfs_handle_fs_error(fs, -EUCLEAN, "blocks %llu+%llu: %s", (unsigned long long)start,
				   (unsigned long long)n,
				   set ? "allocated, but in use already" : "freed, but not in use");
}

/* What the header and the counters say must bear the change, or they are wrong. */
static int mark_header(struct tfs_trans *t, struct tfs_buf *hdr, uint32_t n, uint32_t slots,
		       bool set)
{
	struct tfs_counters *c = &t->fs->cnt;
	struct tfs_group *h = buf_data(hdr);
	uint32_t nr = le32_get(h->nr_blocks), free = le32_get(h->free_blocks),
		 fs = le32_get(h->free_slots);

	if (set ? free < n || fs < slots || c->free_blocks < n || c->free_slots < slots
		: free + n > nr || fs + slots > nr)
		return tfs_handle_fs_error(t->fs, -EUCLEAN,
					   "group %llu: the counts of free blocks are wrong",
					   (unsigned long long)le64_get(h->index));
	h->free_blocks = le32_of(set ? free - n : free + n);
	h->free_slots = le32_of(set ? fs - slots : fs + slots);
	buf_log(t, hdr, offsetof(struct tfs_group, free_blocks),
		offsetof(struct tfs_group, regions) - offsetof(struct tfs_group, free_blocks));
	c->free_blocks = set ? c->free_blocks - n : c->free_blocks + n;
	c->free_slots = set ? c->free_slots - slots : c->free_slots + slots;
	t->fs->super_dirty = true;
	return 0;
}

static bool early_reuse(const struct tfs_fs *fs)
{
	return fs->opts.break_rules & TFS_BREAK_EARLY_REUSE;
}

static int mark_bits(struct tfs_trans *t, struct tfs_buf *bmp, struct tfs_buf *hdr, uint64_t start,
		     uint32_t from, uint32_t to, bool set)
{
	uint32_t nb = t->fs->geom.node_blocks, slots;
	int err;

	if ((set ? block_bitmap_next_set(buf_data(bmp), from, to)
		 : block_bitmap_next_clear(buf_data(bmp), from, to)) != to)
		return bad_bits(t->fs, start, to - from, set);
	err = buf_modify(t, bmp);
	if (!err)
		err = buf_modify(t, hdr);
	if (!err && !set && !early_reuse(t->fs))
		err = journal_defer_release(t, start, to - from);
	if (err)
		return err;
	if (set) {
		slots = block_bitmap_count_slots(buf_data(bmp), from, to, nb);
		block_bitmap_set(buf_data(bmp), from, to);
	} else {
		block_bitmap_clear(buf_data(bmp), from, to);
		slots = block_bitmap_count_slots(buf_data(bmp), from, to, nb);
	}
	buf_log(t, bmp, from / 8, (to + 7) / 8 - from / 8);
	return mark_header(t, hdr, to - from, slots, set);
}

int alloc_disk_mark(struct tfs_trans *t, uint64_t start, uint64_t n, bool set)
{
	const struct tfs_geom *g = &t->fs->geom;
	uint64_t group = tfs_group_of(g, start);
	uint32_t from = (uint32_t)(start - tfs_group_start(g, group));
	struct tfs_buf *bmp = NULL, *hdr = NULL;
	int err;

	err = buf_get(t, tfs_group_header_block(g, group), BUF_GROUP, &hdr);
	if (!err)
		err = buf_get(t, tfs_group_bitmap_block(g, group), BUF_BITMAP, &bmp);
	if (!err)
		err = mark_bits(t, bmp, hdr, start, from, from + (uint32_t)n, set);
	buf_put(bmp);
	buf_put(hdr);
	return err;
}

/* ---- transactions ---- */

/* Is it a range of one group that may be allocated at all?  No extent crosses into the next one's
 * header. */
static bool range_ok(struct tfs_fs *fs, uint64_t start, uint64_t n)
{
	return n && n <= fs->geom.blocks_per_group && !tfs_geom_fixed(&fs->geom, start, n);
}

int alloc_prefault(struct tfs_trans *t, uint64_t start, uint64_t n)
{
	const struct tfs_geom *g = &t->fs->geom;
	uint64_t group = tfs_group_of(g, start), block, last;
	struct tfs_buf *b;
	unsigned int slot;
	int err;

	if (!range_ok(t->fs, start, n) || group >= t->fs->cnt.groups_init)
		return 0;
	err = buf_get(t, tfs_group_header_block(g, group), BUF_GROUP, &b);
	if (err)
		return err;
	buf_put(b);
	err = buf_get(t, tfs_group_bitmap_block(g, group), BUF_BITMAP, &b);
	if (err)
		return err;
	buf_put(b);
	last = tfs_tuple_block_of(g, start + n - 1, &slot);
	for (block = tfs_tuple_block_of(g, start, &slot); block <= last; block++) {
		err = buf_get(t, block, BUF_TUPLE, &b);
		if (err)
			return err;
		buf_put(b);
	}
	return 0;
}

int alloc_commit(struct tfs_trans *t, uint64_t start, uint64_t n)
{
	struct tfs_alloc *a = t->fs->alloc;
	uint64_t group = tfs_group_of(&t->fs->geom, start);
	int err;

	if (!range_ok(t->fs, start, n))
		return bad_bits(t->fs, start, n, true);
	err = group_init(t, group);
	if (!err)
		err = alloc_disk_mark(t, start, n, true);
	if (err)
		return err;
	pthread_mutex_lock(&a->lock);
	assert(a->groups[group].claimed >= n && a->claimed >= n);
	a->groups[group].claimed -= (uint32_t)n;
	a->claimed -= n;
	a->growth += n; /* the caller's extent is about to be counted; set right by the next
			   alloc_note_growth */
	pthread_mutex_unlock(&a->lock);
	return 0;
}

/* Blocks on their way to free, or (@back) still in use after all. */
static void count_pending(struct tfs_alloc *a, struct agroup *ag, uint64_t n, bool back)
{
	ag->pending = (uint32_t)(back ? ag->pending - n : ag->pending + n);
	a->pending = back ? a->pending - n : a->pending + n;
}

int alloc_free(struct tfs_trans *t, uint64_t start, uint64_t n)
{
	struct tfs_alloc *a = t->fs->alloc;
	uint64_t group = tfs_group_of(&t->fs->geom, start);
	struct agroup *ag;
	int err;

	if (!range_ok(t->fs, start, n) || group >= t->fs->cnt.groups_init)
		return bad_bits(t->fs, start, n, false);
	/* the map is loaded while it still shows the blocks in use, and stays until they are
	 * released */
	ag = alloc_lock_group(t, group, &err);
	if (!ag)
		return err;
	count_pending(a, ag, n, false);
	pthread_mutex_unlock(&a->lock);
	err = alloc_disk_mark(t, start, n, false);
	if (err) {
		pthread_mutex_lock(&a->lock);
		count_pending(a, ag, n, true);
		pthread_mutex_unlock(&a->lock);
		return err;
	}
	alloc_note_growth(t->fs);
	if (early_reuse(t->fs))
		alloc_release(t->fs, start, n);
	return 0;
}

void alloc_release(struct tfs_fs *fs, uint64_t start, uint64_t n)
{
	struct tfs_alloc *a = fs->alloc;
	uint64_t group = tfs_group_of(&fs->geom, start);
	uint32_t from = (uint32_t)(start - tfs_group_start(&fs->geom, group));
	struct agroup *ag = &a->groups[group];

	pthread_mutex_lock(&a->lock);
	assert(ag->map && ag->pending >= n &&
	       block_bitmap_next_clear(ag->map, from, from + (uint32_t)n) == from + n);
	count_pending(a, ag, n, true);
	alloc_map_clear(fs, ag, from, from + (uint32_t)n);
	a->released += n;
	pthread_cond_broadcast(&a->freed);
	pthread_mutex_unlock(&a->lock);
}
