/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/block/bio.h"
#include "core/iomap/iomap.h"
#include "core/lib/log.h"
#include "fs/disk/geom.h"
#include "fs/inode/inode.h"
#include "fs/state/fs.h"
#include "fs/vfs/mkfs.h"
#include "fs/vfs/vfs.h"
#include "fsck/check.h"
#include "tallyfs/format.h"
#include "tests/lib/faultdev.h"
#include "tests/lib/fixture.h"

const struct vfs_cred fx_root = { .umask = 022 };

void fx_die(const char *file, int line, const char *what, long long got)
{
	fprintf(stderr, "%s:%d: not so: %s (%lld)\n", file, line, what, got);
	abort();
}

void fx_init(void)
{
	log_init("test", false, LOG_LVL_WARN);
	FX_OK(blk_init(2));
	FX_OK(iomap_ioend_init());
}

void fx_exit(void)
{
	iomap_ioend_exit();
	blk_exit();
}

uint64_t fx_bytes(enum fx_size size)
{
	return size == FX_MEDIUM ? 64ull << 20 : 8ull << 20;
}

void fx_format_as(struct bdev *dev, const struct tfs_format_opts *o)
{
	struct tfs_super super;
	struct tfs_geom geom;
	char why[200] = "";

	if (tfs_format_plan(dev, o, &super, &geom, why, sizeof(why)))
		fx_die(__FILE__, __LINE__, why, 0);
	FX_OK(tfs_format_write(dev, o, &super, &geom));
}

void fx_format(struct bdev *dev, enum fx_size size, uint64_t seed)
{
	struct tfs_format_opts o = { .test_seed = seed };

	if (size != FX_MEDIUM) {
		o.block_size = size == FX_SMALL1K ? 1024 : 4096;
		o.node_size = size == FX_SMALL1K ? 4096 : 16384;
		o.blocks_per_group = (1u << 20) / o.block_size;
		o.journal_bytes = 900u << 10;
	}
	fx_format_as(dev, &o);
}

struct bdev *fx_copy_dev(struct bdev *mem)
{
	struct bdev *copy = bdev_mem_create(mem->size);

	FX_CHECK(copy);
	memcpy(bdev_mem_data(copy), bdev_mem_data(mem), mem->size);
	return copy;
}

static void mount_now(struct fixture *f)
{
	if (vfs_mount(f->dev, &f->opts, &f->fs, f->why, sizeof(f->why)))
		fx_die(__FILE__, __LINE__, f->why, 0);
}

void fx_mount(struct fixture *f, struct bdev *dev, const struct tfs_mount_opts *opts)
{
	struct tfs_mount_opts o = { .no_threads = true, .cache_size = 16u << 20 };

	*f = (struct fixture){ .dev = dev, .opts = opts ? *opts : o };
	mount_now(f);
}

struct bdev *fx_mem(enum fx_size size)
{
	struct bdev *mem = bdev_mem_create(fx_bytes(size));

	FX_CHECK(mem);
	return mem;
}

void fx_mount_own(struct fixture *f, const struct tfs_mount_opts *opts)
{
	fx_mount(f, f->dev, opts);
	f->own_dev = true;
}

void fx_create_on(struct fixture *f, struct bdev *dev, enum fx_size size, uint64_t seed,
		  const struct tfs_mount_opts *opts)
{
	fx_format(dev, size, seed);
	f->dev = dev;
	fx_mount_own(f, opts);
}

void fx_create(struct fixture *f, enum fx_size size)
{
	fx_create_on(f, fx_mem(size), size, 4711, NULL);
}

struct bdev *fx_create_faulty(struct fixture *f, const struct tfs_mount_opts *opts)
{
	struct bdev *mem = fx_mem(FX_SMALL);

	fx_create_on(f, faultdev_create(mem), FX_SMALL, 4711, opts);
	return mem;
}

static void report(void *arg, const struct check_problem *p)
{
	(void)arg;
	if (p->severity != CHECK_NOTE)
		fprintf(stderr, "check: %s: %s\n", p->code, p->text);
}

void fx_check_clean(struct fixture *f)
{
	struct check_opts o = { .verify_data = true,
				.report = report,
				.break_rules = f->opts.break_rules };
	struct check_result r;
	char why[300] = "";

	if (tfs_check_device(f->dev, &o, &r, why, sizeof(why)))
		fx_die(__FILE__, __LINE__, why, 0);
	FX_IS(r.errors, 0);
	FX_IS(r.leaks, 0);
}

void fx_check_live(struct fixture *f)
{
	struct fixture copy = { .dev = fx_copy_dev(f->dev) };

	fx_check_clean(&copy);
	bdev_close(copy.dev);
}

void fx_remount(struct fixture *f)
{
	FX_OK(vfs_unmount(f->fs));
	fx_check_clean(f);
	mount_now(f);
}

void fx_crash_remount(struct fixture *f)
{
	vfs_crash(f->fs);
	fx_check_clean(f);
	mount_now(f);
}

void fx_destroy(struct fixture *f)
{
	FX_OK(vfs_unmount(f->fs));
	fx_check_clean(f);
	if (f->own_dev)
		bdev_close(f->dev);
}

uint64_t fx_ino(struct fixture *f, const char *path)
{
	uint64_t ino = TFS_INO_ROOT;
	struct vfs_attr a;
	char part[TFS_NAME_MAX + 1];

	while (*path) {
		size_t n;

		while (*path == '/')
			path++;
		n = strcspn(path, "/");
		if (!n)
			break;
		memcpy(part, path, n);
		part[n] = '\0';
		FX_OK(vfs_lookup(f->fs, ino, part, &a));
		vfs_forget(f->fs, a.ino, 1);
		ino = a.ino;
		path += n;
	}
	return ino;
}

uint64_t fx_file(struct fixture *f, const char *name, struct vfs_file **file)
{
	struct vfs_attr a;

	FX_OK(vfs_create(f->fs, TFS_INO_ROOT, name, 0644, &fx_root, O_RDWR, &a, file));
	vfs_forget(f->fs, a.ino, 1);
	return a.ino;
}

struct vfs_file *fx_open(struct fixture *f, const char *name)
{
	struct vfs_file *file;

	FX_OK(vfs_open(f->fs, fx_ino(f, name), O_RDWR, &file));
	return file;
}

void fx_close(struct fixture *f, struct vfs_file *file)
{
	/* a writeback that has ended lets go of the inode after waking who waits: ours is to be the
	 * last hold */
	iomap_ioend_drain();
	vfs_release(f->fs, file);
}

uint8_t fx_byte(uint64_t tag, uint64_t pos)
{
	uint64_t x = (pos / 8 + 1) * 0x9e3779b97f4a7c15ull + tag * 0xda942042e4dd58b5ull;

	x ^= x >> 29;
	x *= 0xbf58476d1ce4e5b9ull;
	/* never 0: zeros are what holes read as */
	return (uint8_t)(x >> (pos % 8 * 8)) | 1;
}

#define CHUNK 65536u

void fx_write(struct fixture *f, struct vfs_file *file, uint64_t pos, uint64_t len, uint64_t tag)
{
	uint8_t *buf = malloc(CHUNK);

	FX_CHECK(buf);
	while (len) {
		size_t n = len < CHUNK ? len : CHUNK;

		for (size_t k = 0; k < n; k++)
			buf[k] = fx_byte(tag, pos + k);
		FX_IS(vfs_pwrite(f->fs, file, buf, n, pos), n);
		pos += n;
		len -= n;
	}
	free(buf);
}

static void expect(struct fixture *f, struct vfs_file *file, uint64_t pos, uint64_t len,
		   uint64_t tag, bool zero)
{
	uint8_t *buf = malloc(CHUNK);

	FX_CHECK(buf);
	while (len) {
		size_t n = len < CHUNK ? len : CHUNK;

		FX_IS(vfs_pread(f->fs, file, buf, n, pos), n);
		for (size_t k = 0; k < n; k++) {
			if (buf[k] != (zero ? 0 : fx_byte(tag, pos + k)))
				fx_die(__FILE__, __LINE__, "content at offset",
				       (long long)(pos + k));
		}
		pos += n;
		len -= n;
	}
	free(buf);
}

void fx_expect(struct fixture *f, struct vfs_file *file, uint64_t pos, uint64_t len, uint64_t tag)
{
	expect(f, file, pos, len, tag, false);
}

void fx_expect_zero(struct fixture *f, struct vfs_file *file, uint64_t pos, uint64_t len)
{
	expect(f, file, pos, len, 0, true);
}

uint64_t fx_size_of(struct fixture *f, struct vfs_file *file)
{
	struct vfs_attr a;

	FX_OK(vfs_getattr(f->fs, file->inode->ino, &a));
	return a.size;
}

void fx_set_size(struct fixture *f, struct vfs_file *file, uint64_t size)
{
	struct vfs_attr a = { .size = size };

	FX_OK(vfs_setattr(f->fs, file->inode->ino, VFS_SET_SIZE, &a, &fx_root, &a));
	FX_IS(a.size, size);
}

int fx_unshare(struct tfs_fs *fs, struct vfs_file *file, uint64_t pos, uint64_t len)
{
	int err;

	do {
		err = vfs_unshare(fs, file, &pos, &len, NULL, NULL);
	} while (!err && len);
	return err;
}

struct wanted {
	const char *group, *name;
	uint64_t value;
	bool found;
};

static void match(void *arg, const char *group, const char *name, uint64_t value)
{
	struct wanted *w = arg;

	if (strcmp(group, w->group) || strcmp(name, w->name))
		return;
	w->value = value;
	w->found = true;
}

uint64_t fx_stat(struct fixture *f, const char *group, const char *name)
{
	struct wanted w = { .group = group, .name = name };

	/* what a finished writeback gives back of its space it gives back after waking who waits */
	if (!strcmp(group, "space"))
		iomap_ioend_drain();
	vfs_stats(f->fs, match, &w);
	FX_CHECK(w.found);
	return w.value;
}
