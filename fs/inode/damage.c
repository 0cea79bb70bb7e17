/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The damage list: blocks that were read well but did not match their tuple, and
 * data that could not be kept, as items in the tree that survive remounts.
 *
 * A mismatch is noticed with a folio locked, where no section may be opened, so it
 * goes through a small queue to a worker (or the reader itself, once it has let go of its
 * locks).  What does not fit is counted, but not listed: the block will be met again.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "core/block/bdev.h"
#include "core/lib/log.h"
#include "core/lib/util.h"
#include "core/lib/workqueue.h"
#include "fs/btree/btree.h"
#include "fs/btree/btree_insert.h"
#include "fs/disk/btree_key.h"
#include "fs/inode/damage.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_flush.h"
#include "fs/journal/trans.h"
#include "fs/names/path.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

#define QUEUE_LEN 256u

struct damage {
	uint64_t ino, pos, block, expected, found;
};

struct tfs_damage {
	struct tfs_fs *fs;
	pthread_mutex_t lock;
	struct damage queue[QUEUE_LEN];
	unsigned int head, n;
	uint64_t recorded, dropped;
	struct workqueue *wq; /* NULL: readers do it */
	struct work work;
	bool queued;
	struct ratelimit limit;
	struct log_recent told;
};

int damage_create(struct tfs_fs *fs)
{
	struct tfs_damage *d = tl_zalloc(sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->fs = fs;
	pthread_mutex_init(&d->lock, NULL);
	d->limit = (struct ratelimit)RATELIMIT_INIT;
	pthread_mutex_init(&d->told.lock, NULL);
	fs->damage = d;
	return 0;
}

void damage_destroy(struct tfs_fs *fs)
{
	if (!fs->damage)
		return;
	pthread_mutex_destroy(&fs->damage->lock);
	pthread_mutex_destroy(&fs->damage->told.lock);
	tl_free(fs->damage);
	fs->damage = NULL;
}

static void damage_work(struct work *w)
{
	struct tfs_damage *d = container_of(w, struct tfs_damage, work);

	pthread_mutex_lock(&d->lock);
	d->queued = false;
	pthread_mutex_unlock(&d->lock);
	damage_run(d->fs);
}

int damage_start(struct tfs_fs *fs)
{
	work_init(&fs->damage->work, damage_work);
	fs->damage->wq = workqueue_create("damage", 1);
	return fs->damage->wq ? 0 : -ENOMEM;
}

void damage_stop(struct tfs_fs *fs)
{
	struct tfs_damage *d = fs->damage;
	struct workqueue *wq;

	/* reads ahead may still come across something */
	pthread_mutex_lock(&d->lock);
	wq = d->wq;
	d->wq = NULL;
	pthread_mutex_unlock(&d->lock);
	if (wq)
		workqueue_destroy(wq);
}

void damage_record(struct tfs_fs *fs, uint64_t ino, uint64_t pos, uint64_t block, uint64_t expected,
		   uint64_t found)
{
	struct tfs_damage *d = fs->damage;

	atomic_fetch_add(&fs->mismatches, 1);
	pthread_mutex_lock(&d->lock);
	d->recorded++;
	if (d->n == QUEUE_LEN) {
		d->dropped++;
	} else {
		d->queue[(d->head + d->n++) % QUEUE_LEN] = (struct damage){
			.ino = ino, .pos = pos, .block = block, .expected = expected, .found = found
		};
	}
	if (d->wq && !d->queued) {
		d->queued = true;
		queue_work(d->wq, &d->work);
	}
	pthread_mutex_unlock(&d->lock);
}

bool damage_pending(struct tfs_fs *fs)
{
	struct tfs_damage *d = fs->damage;
	bool pending;

	pthread_mutex_lock(&d->lock);
	pending = !d->wq && d->n > 0;
	pthread_mutex_unlock(&d->lock);
	return pending;
}

static bool take_first(struct tfs_damage *d, struct damage *out)
{
	bool some;

	pthread_mutex_lock(&d->lock);
	some = d->n > 0;
	if (some) {
		*out = d->queue[d->head];
		d->head = (d->head + 1) % QUEUE_LEN;
		d->n--;
	}
	pthread_mutex_unlock(&d->lock);
	return some;
}

/* Where @ino is, or its number. */
static void find_path(struct tfs_fs *fs, uint64_t ino, char *path, size_t size)
{
	int err;

	err = TRANS_READ(t, fs, inode_path(t, ino, path, size));
	if (err < 0)
		snprintf(path, size, "(inode %llu)", (unsigned long long)ino);
}

static void tell(struct tfs_damage *d, const struct damage *x)
{
	char path[4096], more[RATELIMIT_TEXT];
	unsigned int held;

	if (!log_is_news(&d->told, x->block, x->expected) || !ratelimit_ok(&d->limit, &held))
		return;
	find_path(d->fs, x->ino, path, sizeof(path));
	log_err("%s: damaged block: inode %llu, path %s, file offset %llu, block %llu, expected "
		"%016llx, found "
		"%016llx%s",
		d->fs->bdev->name, (unsigned long long)x->ino, path, (unsigned long long)x->pos,
		(unsigned long long)x->block, (unsigned long long)x->expected,
		(unsigned long long)x->found, ratelimit_text(held, more));
}

/* Add to the list, or count it once more. */
static int put_damage(struct tfs_trans *t, uint64_t block, const struct tfs_damage_item *new)
{
	struct tkey key = TKEY(TFS_INO_META, TFS_KEY_DAMAGE, block);
	struct tfs_damage_item it;
	uint32_t count = 0;
	int err = btree_prefault(t, TFS_TREE_FS, &key);

	if (!err)
		err = btree_lookup(t, TFS_TREE_FS, &key, &it, sizeof(it));
	if (!err)
		count = le32_get(it.count);
	else if (err != -ENOENT)
		return err;
	it = *new;
	it.count = le32_of(count == UINT32_MAX ? count : count + 1);
	t->fs->super_dirty = true; /* it holds the count of all mismatches */
	return btree_set(t, TFS_TREE_FS, &key, &it, sizeof(it));
}

static void store(struct tfs_fs *fs, const struct damage *x)
{
	struct tfs_damage_item it = {
		.ino = le64_of(x->ino),
		.offset = le64_of(x->pos),
		.time = le64_of((uint64_t)time(NULL)),
		.expected = le64_of(x->expected),
		.found = le64_of(x->found),
		.kind = le32_of(TFS_APP_DATA),
	};
	struct tfs_trans t = { 0 };
	int err;

	do {
		err = trans_begin_settle(&t, fs, TRANS_CREDITS(fs));
		if (!err)
			err = put_damage(&t, x->block, &it);
	} while (trans_again(&t, &err));
	if (err && err != -EROFS)
		log_warn("%s: block %llu could not be put on the damage list (error %d)",
			 fs->bdev->name, (unsigned long long)x->block, err);
}

void damage_run(struct tfs_fs *fs)
{
	struct damage x;

	while (take_first(fs->damage, &x)) {
		tell(fs->damage, &x);
		if (!fs->opts.ro && !atomic_load(&fs->shutdown))
			store(fs, &x);
	}
}

static int lost_in_section(struct tfs_trans *t, struct tfs_inode *i, uint64_t bytes)
{
	struct tkey key = TKEY(TFS_INO_META, TFS_KEY_LOST, i->ino);
	struct tfs_lost_item it = { 0 };
	uint32_t count;
	int err = inode_prefault(t, i->ino);

	if (!err)
		err = btree_prefault(t, TFS_TREE_FS, &key);
	if (!err)
		err = btree_lookup(t, TFS_TREE_FS, &key, &it, sizeof(it));
	if (err && err != -ENOENT)
		return err;
	count = le32_get(it.count);
	it.time = le64_of((uint64_t)time(NULL));
	it.bytes = le64_of(le64_get(it.bytes) + bytes);
	it.count = le32_of(count == UINT32_MAX ? count : count + 1);
	err = btree_set(t, TFS_TREE_FS, &key, &it, sizeof(it));
	if (err)
		return err;
	pthread_mutex_lock(&i->attr_lock);
	i->a.flags |= TFS_INODE_LOST;
	pthread_mutex_unlock(&i->attr_lock);
	return inode_write(t, i);
}

int damage_lost(struct tfs_inode *i)
{
	uint64_t bytes = atomic_load(&i->mapping.nr_dirty_blocks) << i->fs->geom.blkbits;
	char path[4096];
	struct tfs_trans t = { 0 };
	int err;

	find_path(i->fs, i->ino, path, sizeof(path));
	log_err("%s: %s: %llu bytes of data could not be written and are lost", i->fs->bdev->name,
		path, (unsigned long long)bytes);
	do {
		err = trans_begin_settle(&t, i->fs, TRANS_CREDITS(i->fs));
		if (!err)
			err = lost_in_section(&t, i, bytes);
	} while (trans_again(&t, &err));
	return err;
}

static int lost_in_tree(struct tfs_trans *t, uint64_t after, struct vfs_lost *l)
{
	struct btree_path p = BTREE_PATH_INIT;
	struct tfs_lost_item it;
	struct btree_item item;
	int err = btree_seek(t, TFS_TREE_FS, &TKEY(TFS_INO_META, TFS_KEY_LOST, after + 1), BTREE_GE,
			     &p);

	if (err)
		return err;
	btree_item(&p, &item);
	if (item.key.ino != TFS_INO_META || item.key.type != TFS_KEY_LOST ||
	    item.len != sizeof(it)) {
		err = -ENOENT;
	} else {
		memcpy(&it, item.data, sizeof(it));
		l->ino = item.key.off;
		l->time = (time_t)le64_get(it.time);
		l->bytes = le64_get(it.bytes);
	}
	btree_release(&p);
	return err;
}

int vfs_lost_next(struct tfs_fs *fs, uint64_t after, struct vfs_lost *l)
{
	int err;

	err = TRANS_READ(t, fs, lost_in_tree(t, after, l));
	if (!err)
		find_path(fs, l->ino, l->path, sizeof(l->path));
	return err;
}

void damage_get_stats(struct tfs_fs *fs, uint64_t *recorded, uint64_t *dropped)
{
	struct tfs_damage *d = fs->damage;

	pthread_mutex_lock(&d->lock);
	*recorded = d->recorded;
	*dropped = d->dropped;
	pthread_mutex_unlock(&d->lock);
}
