/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small file systems with a bit of everything in them. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fs/disk/log_ring.h"
#include "fs/journal/journal.h"
#include "fs/names/acl.h"
#include "fs/vfs/mkfs.h"
#include "fs/vfs/vfs.h"
#include "tests/fuzz/base.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/undodev.h"

#define DEVICE_BYTES (4u << 20)
#define ROOT TFS_INO_ROOT

static const struct vfs_cred cred = { .umask = 022 };

static void must(int64_t ret, const char *what)
{
	if (ret < 0)
		fuzz_die("the base image: %s: %s", what, strerror((int)-ret));
}

static void format(struct bdev *dev, bool small, enum tfs_guard guard)
{
	struct tfs_format_opts o = { .block_size = small ? 1024 : 4096,
				     .node_size = small ? 4096 : 8192,
				     .guard = guard,
				     .journal_bytes = (small ? 360u : 500u) << 10,
				     .label = "fuzz",
				     .test_seed = 4711 };
	struct tfs_super super;
	struct tfs_geom geom;
	char why[200] = "";

	o.blocks_per_group = (1u << 20) / o.block_size;
	if (tfs_format_plan(dev, &o, &super, &geom, why, sizeof(why)))
		fuzz_die("mkfs: %s", why);
	must(tfs_format_write(dev, &o, &super, &geom), "mkfs");
}

/* @len bytes at @pos of a new or old file. */
static uint64_t put_file(struct tfs_fs *fs, uint64_t dir, const char *name, uint64_t pos,
			 size_t len)
{
	uint8_t *buf = malloc(len);
	struct vfs_attr a;
	struct vfs_file *f;

	for (size_t k = 0; k < len; k++)
		buf[k] = (uint8_t)((pos + k) * 7 / 8 + (uint8_t)name[0]) | 1;
	if (vfs_lookup(fs, dir, name, &a))
		must(vfs_create(fs, dir, name, 0644, &cred, O_RDWR, &a, &f), name);
	else
		must(vfs_open(fs, a.ino, O_RDWR, &f), name);
	must(vfs_pwrite(fs, f, buf, len, pos), "write");
	must(vfs_fsync(fs, f, false), "fsync");
	vfs_release(fs, f);
	vfs_forget(fs, a.ino, 1);
	free(buf);
	return a.ino;
}

static void put_names(struct tfs_fs *fs, uint64_t dir)
{
	struct vfs_attr a;
	char name[300], target[2000];

	for (unsigned int k = 0; k < 60; k++) {
		snprintf(name, sizeof(name), "name-%u-%0*u", k, 1 + (int)k * 3, k);
		must(vfs_mknod(fs, dir, name, S_IFREG | 0600, 0, &cred, &a), name);
		vfs_forget(fs, a.ino, 1);
	}
	must(vfs_mknod(fs, dir, "fifo", S_IFIFO | 0600, 0, &cred, &a), "fifo");
	vfs_forget(fs, a.ino, 1);
	must(vfs_symlink(fs, dir, "short", "a/b", &cred, &a), "symlink");
	vfs_forget(fs, a.ino, 1);
	memset(target, 't', sizeof(target));
	target[sizeof(target) - 1] = '\0';
	must(vfs_symlink(fs, dir, "long", target, &cred, &a), "symlink");
	vfs_forget(fs, a.ino, 1);
}

static void put_xattrs(struct tfs_fs *fs, uint64_t ino, uint64_t dir)
{
	/* version 2; the owner and user 5 rw, the group, the mask, others r */
	static const uint8_t acl[] = { 2,    0,	   0,	 0, 1,	  0,	6,    0,    0xff,
				       0xff, 0xff, 0xff, 2, 0,	  6,	0,    5,    0,
				       0,    0,	   4,	 0, 4,	  0,	0xff, 0xff, 0xff,
				       0xff, 0x10, 0,	 6, 0,	  0xff, 0xff, 0xff, 0xff,
				       0x20, 0,	   4,	 0, 0xff, 0xff, 0xff, 0xff };
	uint8_t value[6000];

	memset(value, 'v', sizeof(value));
	must(vfs_setxattr(fs, ino, "user.small", "value", 5, 0, &cred), "xattr");
	must(vfs_setxattr(fs, ino, "user.empty", "", 0, 0, &cred), "xattr");
	must(vfs_setxattr(fs, ino, "user.large", value, sizeof(value), 0, &cred), "xattr");
	must(vfs_setxattr(fs, ino, "security.capability", value, 20, 0, &cred), "xattr");
	must(vfs_setxattr(fs, ino, ACL_NAME_ACCESS, acl, sizeof(acl), 0, &cred), "ACL");
	must(vfs_setxattr(fs, dir, ACL_NAME_DEFAULT, acl, sizeof(acl), 0, &cred), "ACL");
}

/* What a file can be made of: shared, unwritten, a hole, a tail. */
static void put_extents(struct tfs_fs *fs, uint64_t from, uint32_t bs)
{
	struct vfs_attr a;
	struct vfs_file *in, *out;

	must(vfs_open(fs, from, O_RDWR, &in), "open");
	must(vfs_create(fs, ROOT, "copy", 0644, &cred, O_RDWR, &a, &out), "copy");
	must(vfs_copy_file_range(fs, in, 0, out, 0, 5 * bs, 0), "copy");
	must(vfs_copy_file_range(fs, in, 2 * bs, out, 12 * bs, 2 * bs, 0), "copy");
	must(vfs_fallocate(fs, out, 0, 8 * bs, 4 * bs), "fallocate");
	must(vfs_fallocate(fs, in, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5 * bs, bs),
	     "punch");
	vfs_release(fs, in);
	vfs_release(fs, out);
	vfs_forget(fs, a.ino, 1);
}

static void orphan(struct tfs_fs *fs, const char *name, struct vfs_file **f)
{
	struct vfs_attr a;

	put_file(fs, ROOT, name, 0, 9000);
	must(vfs_lookup(fs, ROOT, name, &a), name);
	must(vfs_open(fs, a.ino, O_RDWR, f), name);
	vfs_forget(fs, a.ino, 1);
	must(vfs_unlink(fs, ROOT, name), "unlink");
}

/* The second half of what happens reaches the log alone. */
static void cut(struct tfs_fs *fs, uint64_t dir, uint32_t bs)
{
	struct vfs_file *f[2];
	struct vfs_attr a;

	must(vfs_sync(fs), "sync");
	must(journal_checkpoint(fs), "checkpoint");
	put_file(fs, dir, "late", 0, 3 * bs);
	must(vfs_unlink(fs, dir, "name-3-0000000003"), "unlink");
	must(vfs_sync(fs), "sync");
	orphan(fs, "orphan", &f[0]);
	must(vfs_tmpfile(fs, ROOT, 0600, &cred, O_RDWR, &a, &f[1]), "tmpfile");
	must(vfs_sync(fs), "sync");
	put_file(fs, ROOT, "big", 4 * bs, 2 * bs);
	must(vfs_rename(fs, ROOT, "tiny", dir, "tiny2", 0), "rename");
	must(vfs_sync(fs), "sync");
	vfs_release(fs, f[0]);
	vfs_release(fs, f[1]);
	vfs_crash(fs);
}

static void populate(struct bdev *dev, uint32_t bs, bool pending)
{
	struct tfs_mount_opts o = { .no_threads = true, .cache_size = 4u << 20 };
	struct tfs_fs *fs;
	struct vfs_attr a, b;
	uint64_t big;
	char why[300] = "";

	must(vfs_mount(dev, &o, &fs, why, sizeof(why)), why);
	must(vfs_mkdir(fs, ROOT, "a", 0755, &cred, &a), "mkdir");
	must(vfs_mkdir(fs, a.ino, "b", 0755, &cred, &b), "mkdir");
	big = put_file(fs, ROOT, "big", 0, 9 * bs + 100);
	put_file(fs, ROOT, "sparse", 100 * bs, 2 * bs);
	put_file(fs, ROOT, "tiny", 0, 33);
	put_file(fs, b.ino, "deep", 0, bs / 2);
	put_names(fs, a.ino);
	put_xattrs(fs, big, b.ino);
	put_extents(fs, big, bs);
	must(vfs_link(fs, big, b.ino, "link", &b), "link");
	vfs_forget(fs, big, 1);
	if (pending)
		cut(fs, a.ino, bs);
	else
		must(vfs_unmount(fs), "unmount");
}

/* ---- what is where ---- */

static void add(uint64_t *list, unsigned int *nr, unsigned int max, uint64_t v)
{
	if (*nr < max)
		list[(*nr)++] = v;
}

static void note_node(struct base *b, uint64_t block)
{
	const struct tfs_node *n = seal_at(&b->seal, block);
	const struct tfs_child *child = (const struct tfs_child *)(n + 1);
	const struct tfs_item *item = (const struct tfs_item *)(n + 1);

	add(b->node, &b->nr_nodes, BASE_NODES, block);
	for (unsigned int k = 0; k < le16_get(n->nritems); k++) {
		if (le16_get(n->level)) {
			note_node(b, le64_get(child[k].addr));
		} else if (item[k].key.type == TFS_KEY_EXTENT) {
			const struct tfs_extent_item *x =
				(const void *)((const uint8_t *)n + le32_get(item[k].off));

			for (uint32_t i = 0; i < le32_get(x->len); i++)
				add(b->data, &b->nr_data, BASE_DATA, le64_get(x->start) + i);
		}
	}
}

static void look(struct base *b)
{
	const struct tfs_super *super;

	must(seal_open(&b->seal, undodev_data(b->dev)), "geometry");
	super = seal_at(&b->seal, b->seal.geom.super_block);
	b->next_ino = le64_get(super->next_ino);
	for (unsigned int k = 0; k < TFS_NR_TREES; k++)
		if (le64_get(super->roots[k].addr))
			note_node(b, le64_get(super->roots[k].addr));
	for (uint64_t pos = TFS_LOG_FIRST; pos < seal_log_blocks(&b->seal); pos++) {
		const struct tfs_log_commit *c = seal_log_at(&b->seal, pos);

		if (le32_get(c->magic) == TFS_COMMIT_MAGIC &&
		    le64_get(c->csum) == log_csum(c, b->seal.seed))
			add(b->commit, &b->nr_commits, BASE_COMMITS, pos);
	}
}

struct base *base_get(unsigned int which)
{
	static struct base made[BASES];
	struct base *b = &made[which % BASES];
	bool small = which % 2;

	if (b->dev) {
		undodev_reset(b->dev);
		return b;
	}
	b->pending = which % BASES >= 2;
	b->dev = undodev_create(DEVICE_BYTES);
	format(b->dev, small, b->pending ? TFS_GUARD_CRC32 : TFS_GUARD_XXH3);
	populate(b->dev, small ? 1024 : 4096, b->pending);
	look(b);
	undodev_keep(b->dev);
	return b;
}
