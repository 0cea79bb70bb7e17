/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads that write, overwrite and remove data at once, near full, with the journal's own thread
 * beside them.  Once more on a thin device, whose host has room at times, while somebody trims.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/block/bdev.h"
#include "fs/alloc/alloc_data.h"
#include "fs/alloc/space.h"
#include "fs/journal/journal.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"
#include "fs/vfs/fs_open.h"
#include "fs/vfs/mkfs.h"
#include "fs/vfs/vfs.h"
#include "tests/lib/random.h"
#include "tests/lib/thindev.h"
#include "tests/lib/fixture_bare.h"

#define THREADS 4
#define OPS 400
#define RUNS 64

#define CHECK(x)                                                                \
	do {                                                                    \
		if (!(x)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			abort();                                                \
		}                                                               \
	} while (0)

struct writer {
	struct tfs_fs *fs;
	pthread_t thread;
	uint64_t rng;
	unsigned int nr, enospc;
	struct {
		uint64_t start, n;
	} run[RUNS];
};

/* Who owns each block, beside the file system's own books: two owners are an error. */
static atomic_uchar owner[16384];

static void own(uint64_t start, uint64_t n, unsigned char from, unsigned char to)
{
	unsigned char was;

	while (n--) {
		was = from;
		CHECK(atomic_compare_exchange_strong(&owner[start + n], &was, to));
	}
}

static int do_change(struct tfs_trans *t, void *arg)
{
	struct fx_data_change *c = arg;
	int err = fx_change_data(t, c);

	/* from here on it may be handed out again, but not before the commit */
	if (!err)
		own(c->del, c->del_n, 1, 0);
	return err;
}

static void one(struct writer *w)
{
	unsigned int i = (unsigned int)(test_rand(&w->rng) % RUNS);
	struct fx_data_change c = { 0 };
	uint64_t n = 1 + test_rand(&w->rng) % 24;
	bool over = i < w->nr && test_rand(&w->rng) % 2;
	int err;

	if (i < w->nr && !over) {
		c.del = w->run[i].start;
		c.del_n = w->run[i].n;
		w->run[i] = w->run[--w->nr];
		CHECK(!fx_in_write(w->fs, do_change, &c));
		return;
	}
	if (!over && w->nr == RUNS)
		return;
	if (over)
		n = w->run[i].n;
	err = space_reserve(w->fs, n, over);
	if (err) {
		CHECK(err == -ENOSPC);
		w->enospc++;
		return;
	}
	CHECK(!alloc_data(w->fs, over ? w->run[i].start : 0, n, &c.add, &c.add_n));
	space_unreserve(w->fs, n - c.add_n);
	own(c.add, c.add_n, 0, 1);
	if (test_rand(&w->rng) % 8 == 0) {
		own(c.add, c.add_n, 1, 0);
		alloc_cancel(w->fs, c.add, c.add_n, false);
		return;
	}
	if (over) {
		c.del = w->run[i].start;
		c.del_n = w->run[i].n;
	} else {
		i = w->nr++;
	}
	CHECK(!fx_in_write(w->fs, do_change, &c));
	w->run[i].start = c.add;
	w->run[i].n = c.add_n;
}

static void *work(void *arg)
{
	struct writer *w = arg;
	uint64_t avail, free_blocks, total;
	int i;

	for (i = 0; i < OPS; i++) {
		one(w);
		if (i % 50 == 49) {
			CHECK(!journal_commit_all(w->fs));
			space_statfs(w->fs, &avail, &free_blocks, &total);
			CHECK(avail <= free_blocks && free_blocks <= total);
		}
	}
	return NULL;
}

struct host {
	struct tfs_fs *fs;
	pthread_t thread;
	atomic_bool stop;
	uint64_t rng, trimmed;
};

static void *come_and_go(void *arg)
{
	struct host *h = arg;
	uint64_t n;

	while (!atomic_load(&h->stop)) {
		thindev_set_room(h->fs->bdev,
				 test_rand(&h->rng) % 2 ? 0 : test_rand(&h->rng) % (1 << 20));
		CHECK(!vfs_trim(h->fs, 0, UINT64_MAX, 0, NULL, NULL, &n));
		h->trimmed += n;
	}
	return NULL;
}

static void run(struct bdev *b)
{
	static struct writer w[THREADS];
	struct tfs_format_opts o = fx_bare_opts();
	struct tfs_mount_opts mo = { .commit_interval = 1 };
	struct host host = { .rng = 5 };
	struct tfs_space_stats st;
	uint64_t seed = test_seed(11), used = 0, before;
	struct tfs_fs *fs;
	unsigned int k, i;
	char why[200];

	memset(w, 0, sizeof(w));
	memset(owner, 0, sizeof(owner));
	fx_format_as(b, &o);
	CHECK(!tfs_open(b, &mo, &fs, why, sizeof(why)));
	CHECK(!tfs_start(fs));
	before = fs->cnt.free_blocks;
	for (k = 0; k < THREADS; k++) {
		w[k].fs = fs;
		w[k].rng = seed + k;
		CHECK(!pthread_create(&w[k].thread, NULL, work, &w[k]));
	}
	host.fs = fs;
	if (b->thin)
		CHECK(!pthread_create(&host.thread, NULL, come_and_go, &host));
	for (k = 0; k < THREADS; k++) {
		CHECK(!pthread_join(w[k].thread, NULL));
		for (i = 0; i < w[k].nr; i++)
			used += w[k].run[i].n;
		printf("thread %u: %u runs at the end, %u times no space\n", k, w[k].nr,
		       w[k].enospc);
	}
	atomic_store(&host.stop, true);
	if (b->thin) {
		CHECK(!pthread_join(host.thread, NULL));
		CHECK(!thindev_refused_writes(b));
		printf("%llu bytes trimmed\n", (unsigned long long)host.trimmed);
	}
	CHECK(!journal_commit_all(fs));
	space_get_stats(fs, &st);
	CHECK(!st.claimed && !st.reserved && !st.pending_free);
	CHECK(st.free_blocks == before - used && fs->cnt.free_blocks == before - used);
	CHECK(!tfs_close(fs));
	bdev_close(b);
}

int main(void)
{
	run(bdev_mem_create(8 << 20));
	run(thindev_create(bdev_mem_create(8 << 20), 4 << 20));
	return 0;
}
