/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading metadata before it is wanted under a lock: what a section missed, and what may come. */
#include <errno.h>
#include <string.h>
#include "core/lib/log.h"
#include "core/lib/util.h"
#include "core/lib/workqueue.h"
#include "fs/journal/bufcache.h"
#include "fs/journal/buffer.h"
#include "fs/journal/buffer_load.h"
#include "fs/journal/buffer_read.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"

#define MAX_QUEUED 64 /* reads waiting for a thread: more is not a hint any more */

int buf_load(struct tfs_fs *fs, uint64_t block, enum tfs_buf_kind kind)
{
	struct tfs_buf *b = NULL;
	struct tfs_trans t = { 0 };
	char why[160] = "";
	struct buf_proof p;
	int err;

	if (!buf_place_ok(&fs->geom, block, kind))
		return -EUCLEAN;
	do {
		trans_read_begin(&t, fs);
		err = buf_get_proof(&t, block, kind, &p);
		if (!err)
			err = bufcache_start_load(fs, block, kind, &b);
		if (!err)
			buf_put(b);
	} while (trans_again(&t, &err));
	if (err == -EBUSY) {
		bufcache_wait(fs->bufs, block);
		return 0;
	}
	if (err <= 0)
		return err;
	err = buf_fill(fs, b, &p, true, why, sizeof(why));
	if (err)
		log_debug("%s %llu: %s", buf_kind_name(kind), (unsigned long long)block, why);
	return err;
}

/* ---- readahead ---- */

struct readahead {
	struct work work;
	struct tfs_fs *fs;
	uint64_t block;
	enum tfs_buf_kind kind;
};

static void readahead_fn(struct work *w)
{
	struct readahead *ra = container_of(w, struct readahead, work);
	struct tfs_bufcache *c = ra->fs->bufs;

	buf_load(ra->fs, ra->block, ra->kind);
	atomic_fetch_sub(&c->queued, 1);
	tl_free(ra);
}

void buf_readahead(struct tfs_fs *fs, const uint64_t *blocks, unsigned int n,
		   enum tfs_buf_kind kind)
{
	struct tfs_bufcache *c = fs->bufs;
	struct readahead *ra;
	unsigned int i;

	if (!c->readers)
		return;
	for (i = 0; i < n && atomic_load(&c->queued) < MAX_QUEUED; i++) {
		if (bufcache_has(c, blocks[i]) || !buf_place_ok(&fs->geom, blocks[i], kind))
			continue;
		ra = tl_alloc(sizeof(*ra));
		if (!ra)
			return;
		work_init(&ra->work, readahead_fn);
		ra->fs = fs;
		ra->block = blocks[i];
		ra->kind = kind;
		atomic_fetch_add(&c->queued, 1);
		queue_work(c->readers, &ra->work);
	}
}
