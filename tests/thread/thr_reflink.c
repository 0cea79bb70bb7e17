/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many threads share, overwrite, unshare, cut and read blocks of the same few files, with all of
 * the file system's threads running.  A block's content is a function of a tag in its first 8 bytes
 * and does not depend on where it is: wherever it was copied, it must be whole.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/pagecache/pagecache.h"
#include "fs/inode/inode.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tests/lib/fixture.h"
#include "tests/lib/random.h"

#define THREADS 6
#define FILES 4
#define ROUNDS 80
#define BLOCK 4096u
#define BLOCKS 40u

static struct fixture fx;
static atomic_int go_on = 1;

static void fill(uint8_t *buf, uint64_t tag)
{
	for (unsigned int k = 0; k < BLOCK; k++)
		buf[k] = fx_byte(tag, k);
	memcpy(buf, &tag, sizeof(tag));
}

static void check_block(const uint8_t *p, uint8_t *want)
{
	uint64_t tag;

	memcpy(&tag, p, sizeof(tag));
	if (tag)
		fill(want, tag);
	else
		memset(want, 0, BLOCK);
	FX_CHECK(!memcmp(p, want, BLOCK));
}

static void read_all(struct vfs_file *f, uint8_t *buf, uint8_t *want)
{
	for (unsigned int b = 0; b < BLOCKS; b++) {
		int64_t n = vfs_pread(fx.fs, f, buf, BLOCK, (uint64_t)b * BLOCK);

		FX_CHECK(n == 0 || n == BLOCK);
		if (n)
			check_block(buf, want);
	}
}

static struct vfs_file *open_file(unsigned int n)
{
	char name[16];

	snprintf(name, sizeof(name), "f%u", n);
	return fx_open(&fx, name);
}

static void one(uint64_t *rng, uint8_t *buf, uint8_t *want)
{
	struct vfs_file *f = open_file((unsigned int)(test_rand(rng) % FILES));
	struct vfs_file *g = open_file((unsigned int)(test_rand(rng) % FILES));
	uint64_t pos = test_rand(rng) % BLOCKS * BLOCK, to = test_rand(rng) % BLOCKS * BLOCK;
	uint64_t len = (1 + test_rand(rng) % 10) * BLOCK, what = test_rand(rng) % 20;
	struct vfs_extent x[BLOCKS];
	struct vfs_attr a = { .size = pos };
	int64_t n;

	if (len > BLOCKS * BLOCK - to)
		len = BLOCKS * BLOCK - to;
	if (what < 5) {
		fill(buf, *rng);
		FX_IS(vfs_pwrite(fx.fs, f, buf, BLOCK, pos), BLOCK);
	} else if (what < 11) {
		n = vfs_copy_file_range(fx.fs, f, pos, g, to, len, 0);
		FX_CHECK(n >= 0 || n == -EINVAL);
	} else if (what < 15) {
		read_all(f, buf, want);
	} else if (what < 16) {
		FX_OK(vfs_setattr(fx.fs, f->inode->ino, VFS_SET_SIZE, &a, &fx_root, &a));
	} else if (what < 17) {
		FX_OK(vfs_fallocate(fx.fs, f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, pos,
				    len));
	} else if (what < 18) {
		FX_OK(fx_unshare(fx.fs, f, pos, len));
	} else if (what < 19) {
		FX_CHECK(vfs_extents(fx.fs, f, 0, x, BLOCKS) >= 0);
	} else {
		FX_OK(vfs_fsync(fx.fs, f, false));
	}
	vfs_release(fx.fs, f);
	vfs_release(fx.fs, g);
}

static void *worker(void *arg)
{
	uint64_t rng = 1 + (uintptr_t)arg * 7919;
	uint8_t *buf = malloc(2 * BLOCK);

	FX_CHECK(buf);
	for (unsigned int k = 0; k < ROUNDS; k++)
		one(&rng, buf, buf + BLOCK);
	free(buf);
	return NULL;
}

static void *sync_thread(void *arg)
{
	(void)arg;
	while (atomic_load(&go_on)) {
		FX_OK(vfs_sync(fx.fs));
		pagecache_shrink(fx.fs->pagecache, 0);
	}
	return NULL;
}

int main(void)
{
	struct tfs_mount_opts o = { .cache_size = 2u << 20, .commit_interval = 1 };
	uint8_t buf[2 * BLOCK];
	pthread_t t[THREADS], syncer;

	fx_init();
	fx_create_on(&fx, fx_mem(FX_MEDIUM), FX_MEDIUM, 98, &o);
	for (unsigned int n = 0; n < FILES; n++) {
		char name[16];

		snprintf(name, sizeof(name), "f%u", n);
		fx_file(&fx, name, NULL);
	}
	FX_OK(pthread_create(&syncer, NULL, sync_thread, NULL));
	for (uintptr_t k = 0; k < THREADS; k++)
		FX_OK(pthread_create(&t[k], NULL, worker, (void *)k));
	for (int k = 0; k < THREADS; k++)
		pthread_join(t[k], NULL);
	atomic_store(&go_on, 0);
	pthread_join(syncer, NULL);
	fx_remount(&fx);
	for (unsigned int n = 0; n < FILES; n++) {
		struct vfs_file *f = open_file(n);

		read_all(f, buf, buf + BLOCK);
		vfs_release(fx.fs, f);
	}
	fx_destroy(&fx);
	fx_exit();
	return 0;
}
