/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many threads on one file system with all its threads running: writers, readers,
 * truncation, names, and syncs at once.  What is checked is that readers
 * see whole states, that the checker is content afterwards, and (under TSan) that nobody races.
 *
 * Every file's content is a function of (tag, position), the tag being in its first 8 bytes;
 * a writer replaces the whole file under one tag per lock, so a reader who sees
 * two tags in one read has seen a torn state.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/pagecache/pagecache.h"
#include "fs/inode/inode.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"
#include "tests/lib/random.h"

#define THREADS 6
#define FILES 4
#define ROUNDS 60
#define FILE_BYTES 40000u

static struct fixture fx;
static atomic_int go_on = 1;

static void fill(uint8_t *buf, uint64_t tag)
{
	for (unsigned int k = 0; k < FILE_BYTES; k++)
		buf[k] = fx_byte(tag, k);
	memcpy(buf, &tag, sizeof(tag));
}

static int check_read(void *arg, struct iovec *iov, int n, size_t bytes)
{
	uint64_t tag = 0, pos = 0;
	bool zeros = false;

	(void)arg;
	if (bytes < sizeof(tag))
		return 0;
	FX_CHECK(n > 0 && iov[0].iov_len >= sizeof(tag));
	memcpy(&tag, iov[0].iov_base, sizeof(tag));
	for (int k = 0; k < n; k++) {
		const uint8_t *p = iov[k].iov_base;

		for (size_t j = 0; j < iov[k].iov_len; j++, pos++) {
			if (pos < sizeof(tag))
				continue;
			zeros = zeros || !p[j]; /* cut, and grown again */
			FX_CHECK(p[j] == (zeros ? 0 : fx_byte(tag, pos)));
		}
	}
	return 0;
}

static struct vfs_file *open_file(unsigned int n)
{
	char name[16];

	snprintf(name, sizeof(name), "f%u", n);
	return fx_open(&fx, name);
}

/* The same, sometimes past the cache. */
static struct vfs_file *open_somehow(uint64_t *rng)
{
	struct vfs_file *f = open_file((unsigned int)(test_rand(rng) % FILES));

	if (test_rand(rng) % 3 == 0)
		f->flags |= O_DIRECT;
	return f;
}

static void *data_thread(void *arg)
{
	uint64_t rng = 1 + (uintptr_t)arg * 7919;
	uint8_t *buf = NULL;
	struct vfs_attr a;

	FX_OK(posix_memalign((void **)&buf, 4096, FILE_BYTES));

	for (unsigned int k = 0; k < ROUNDS; k++) {
		struct vfs_file *f = open_somehow(&rng);
		uint64_t what = test_rand(&rng) % 10;

		if (what < 4) {
			fill(buf, rng);
			FX_IS(vfs_pwrite(fx.fs, f, buf, FILE_BYTES, 0), FILE_BYTES);
		} else if (what < 8) {
			FX_OK(vfs_read(fx.fs, f, 0, FILE_BYTES, check_read, NULL));
		} else if (what < 9) {
			a.size = test_rand(&rng) % FILE_BYTES;
			FX_OK(vfs_setattr(fx.fs, f->inode->ino, VFS_SET_SIZE, &a, &fx_root, &a));
		} else {
			FX_OK(vfs_fsync(fx.fs, f, k & 1));
		}
		vfs_release(fx.fs, f);
	}
	free(buf);
	return NULL;
}

static bool count(void *arg, const struct vfs_dirent *de)
{
	(void)de;
	++*(unsigned int *)arg;
	return true;
}

static void *name_thread(void *arg)
{
	uint64_t rng = 3 + (uintptr_t)arg * 104729, root = TFS_INO_ROOT;
	char a[16], b[16];

	for (unsigned int k = 0; k < ROUNDS * 3; k++) {
		struct vfs_attr at;
		unsigned int n = 0;
		int err = 0;

		snprintf(a, sizeof(a), "n%u", (unsigned int)(test_rand(&rng) % 12));
		snprintf(b, sizeof(b), "n%u", (unsigned int)(test_rand(&rng) % 12));
		switch (test_rand(&rng) % 8) {
		case 0:
		case 1:
			err = vfs_create(fx.fs, root, a, 0644, &fx_root, 0, &at, NULL);
			if (!err)
				vfs_forget(fx.fs, at.ino, 1);
			break;
		case 2:
			err = vfs_mkdir(fx.fs, root, a, 0755, &fx_root, &at);
			if (!err)
				vfs_forget(fx.fs, at.ino, 1);
			break;
		case 3:
			err = vfs_unlink(fx.fs, root, a);
			break;
		case 4:
			err = vfs_rmdir(fx.fs, root, a);
			break;
		case 5:
			err = vfs_rename(fx.fs, root, a, root, b, 0);
			break;
		case 6:
			err = vfs_lookup(fx.fs, root, a, &at);
			if (!err) {
				vfs_setxattr(fx.fs, at.ino, "user.t", a, strlen(a), 0, &fx_root);
				vfs_forget(fx.fs, at.ino, 1);
			}
			break;
		default:
			FX_OK(vfs_readdir(fx.fs, root, 0, count, &n));
			FX_CHECK(n >= 2 + FILES);
		}
		if (err && err != -EEXIST && err != -ENOENT && err != -EISDIR && err != -ENOTDIR &&
		    err != -ENOTEMPTY)
			FX_OK(err);
	}
	return NULL;
}

static void *sync_thread(void *arg)
{
	struct statvfs st;
	uint64_t trimmed;

	(void)arg;
	while (atomic_load(&go_on)) {
		FX_OK(vfs_sync(fx.fs));
		FX_OK(vfs_trim(fx.fs, 0, UINT64_MAX, 0, NULL, NULL, &trimmed));
		FX_OK(vfs_statfs(fx.fs, &st));
		fx_stat(&fx, "cache", "bytes");
		pagecache_shrink(fx.fs->pagecache, 0);
	}
	return NULL;
}

int main(void)
{
	struct tfs_mount_opts o = { .cache_size = 2u << 20, .commit_interval = 1 };
	pthread_t t[THREADS], syncer;

	fx_init();
	fx_create_on(&fx, fx_mem(FX_MEDIUM), FX_MEDIUM, 99, &o);
	for (unsigned int n = 0; n < FILES; n++) {
		char name[16];

		snprintf(name, sizeof(name), "f%u", n);
		fx_file(&fx, name, NULL);
	}
	FX_OK(pthread_create(&syncer, NULL, sync_thread, NULL));
	for (uintptr_t k = 0; k < THREADS; k++)
		FX_OK(pthread_create(&t[k], NULL, k % 2 ? name_thread : data_thread, (void *)k));
	for (int k = 0; k < THREADS; k++)
		pthread_join(t[k], NULL);
	atomic_store(&go_on, 0);
	pthread_join(syncer, NULL);
	fx_remount(&fx);
	for (unsigned int n = 0; n < FILES; n++) {
		struct vfs_file *f = open_file(n);

		FX_OK(vfs_read(fx.fs, f, 0, FILE_BYTES, check_read, NULL));
		vfs_release(fx.fs, f);
	}
	fx_destroy(&fx);
	fx_exit();
	return 0;
}
