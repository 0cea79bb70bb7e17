/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A whole file system in memory for tests: format, mount, remount, crash, check.  What lies below
 * the VFS is opened by fixture_bare.h.  Fails by abort() with a line that says what, so that
 * Criterion and plain programs can use it alike.
 */
#ifndef TESTS_FIXTURE_H
#define TESTS_FIXTURE_H

#include <fcntl.h>
#include "core/block/bdev.h"
#include "fs/state/fs.h"
#include "fs/vfs/mkfs.h"
#include "fs/vfs/vfs.h"

#define FX_CHECK(cond)                                                   \
	do {                                                             \
		if (!(cond))                                             \
			fx_die(__FILE__, __LINE__, #cond, (long long)0); \
	} while (0)
/* @expr must give @want; says what it gave. */
#define FX_IS(expr, want)                                                     \
	do {                                                                  \
		long long got_ = (long long)(expr);                           \
		if (got_ != (long long)(want))                                \
			fx_die(__FILE__, __LINE__, #expr " is " #want, got_); \
	} while (0)
#define FX_OK(expr) FX_IS(expr, 0)
void fx_die(const char *file, int line, const char *what, long long got) __attribute__((noreturn));

enum fx_size {
	FX_SMALL,   /* 8 MiB, groups of 1 MiB, journal of 900 KiB */
	FX_SMALL1K, /* the same with 1 KiB blocks and 4 KiB nodes */
	FX_MEDIUM,  /* 64 MiB, defaults */
};

struct fixture {
	struct bdev *dev;
	struct tfs_fs *fs;
	struct tfs_mount_opts opts;
	bool own_dev;
	char why[300]; /* what opening or mounting says when it fails */
};

/* Once per process. */
void fx_init(void);
void fx_exit(void);
/* Format a device (deterministically, from @seed). */
void fx_format(struct bdev *dev, enum fx_size size, uint64_t seed);
/* The same as the test likes it. */
void fx_format_as(struct bdev *dev, const struct tfs_format_opts *o);
uint64_t fx_bytes(enum fx_size size);
/* A copy of a memory device as it is now. */
struct bdev *fx_copy_dev(struct bdev *mem);
/* A memory device for that size. */
struct bdev *fx_mem(enum fx_size size);
/* On a memory device of its own, formatted and mounted without threads. */
void fx_create(struct fixture *f, enum fx_size size);
/* A small one on a faultdev over memory.  The memory.  @opts: as of fx_mount. */
struct bdev *fx_create_faulty(struct fixture *f, const struct tfs_mount_opts *opts);
/* On @dev, which is formatted and becomes its own.  @opts: as of fx_mount. */
void fx_create_on(struct fixture *f, struct bdev *dev, enum fx_size size, uint64_t seed,
		  const struct tfs_mount_opts *opts);
/* On a device passed in, formatted by the caller; @opts NULL: no threads, small cache. */
void fx_mount(struct fixture *f, struct bdev *dev, const struct tfs_mount_opts *opts);
/* On the device it has and owns, after whatever the test did to it unmounted. */
void fx_mount_own(struct fixture *f, const struct tfs_mount_opts *opts);
/* Unmount, run the checker, mount again: lookup counts start anew. */
void fx_remount(struct fixture *f);
/* Pull the plug without losing what the device has, check, mount again. */
void fx_crash_remount(struct fixture *f);
/* The checker says: clean.  Not while it is mounted. */
void fx_check_clean(struct fixture *f);
/* The same of a copy of the device as it is now, while mounted (of fx_create). */
void fx_check_live(struct fixture *f);
/* Unmount, check, free. */
void fx_destroy(struct fixture *f);

extern const struct vfs_cred fx_root;

/* By path from the root ("/a/b"): inode number, holding no lookup reference. */
uint64_t fx_ino(struct fixture *f, const char *path);
/* Short forms, in the root directory, of what tests do all the time; they fail the test. */
uint64_t fx_file(struct fixture *f, const char *name, struct vfs_file **file); /* create */
struct vfs_file *fx_open(struct fixture *f, const char *name);
void fx_close(struct fixture *f, struct vfs_file *file);
/* Byte at @pos of the pattern with number @tag: what fx_write writes and fx_expect expects. */
uint8_t fx_byte(uint64_t tag, uint64_t pos);
void fx_write(struct fixture *f, struct vfs_file *file, uint64_t pos, uint64_t len, uint64_t tag);
void fx_expect(struct fixture *f, struct vfs_file *file, uint64_t pos, uint64_t len, uint64_t tag);
void fx_expect_zero(struct fixture *f, struct vfs_file *file, uint64_t pos, uint64_t len);
/* All of the range, as vfs_unshare() does it in parts.  0 or -errno. */
int fx_unshare(struct tfs_fs *fs, struct vfs_file *file, uint64_t pos, uint64_t len);
uint64_t fx_size_of(struct fixture *f, struct vfs_file *file);
void fx_set_size(struct fixture *f, struct vfs_file *file, uint64_t size);
/* A number of vfs_stats(); those of "space" when no writeback is under way any more. */
uint64_t fx_stat(struct fixture *f, const char *group, const char *name);

#endif
