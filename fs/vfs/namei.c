/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names: lookup, link, unlink, and what all namespace operations share.
 *
 * Each operation is one section: it looks at everything, decides, and changes, with
 * meta_lock held exclusively.  In-memory inodes are found before (loading one needs
 * sections of its own), and the section checks that the names still mean them.
 */
#include "fs/alloc/space.h"
#include "fs/btree/btree.h"
#include "fs/disk/btree_key.h"
#include "fs/inode/dying.h"
#include "fs/inode/evict.h"
#include "fs/inode/icache.h"
#include "fs/inode/iget.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_flush.h"
#include "fs/inode/lookup_count.h"
#include "fs/inode/reaper.h"
#include "fs/journal/trans.h"
#include "fs/names/dir.h"
#include "fs/names/backref.h"
#include "fs/names/orphan.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "fs/vfs/attr.h"
#include "fs/vfs/flags.h"
#include "fs/vfs/namei.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"

int name_check(const char *name)
{
	size_t len = strlen(name);

	if (!len || memchr(name, '/', len))
		return -EINVAL;
	if (len > TFS_NAME_MAX)
		return -ENAMETOOLONG;
	return (int)len;
}

int dir_usable(struct tfs_inode *dir)
{
	if (!inode_is_dir(dir))
		return -ENOTDIR;
	return atomic_load(&dir->unlinked) ? -ENOENT : 0;
}

int name_init(struct tfs_fs *fs, struct name_ref *r, uint64_t dir, const char *name)
{
	int len = name_check(name), err;

	*r = (struct name_ref){ .name = name };
	if (len < 0)
		return len;
	r->len = (size_t)len;
	err = inode_get(fs, dir, &r->dir);
	if (!err)
		err = inode_is_dir(r->dir) ? 0 : -ENOTDIR;
	return err;
}

/* What the directory says of an inode's type, listings have told already: it must be so. */
static int name_type(struct tfs_inode *i, uint64_t dir, uint8_t type)
{
	if (type == dirent_type(i->fmt))
		return 0;
	return tfs_handle_fs_error(
		i->fs, -EUCLEAN, "directory %llu has a name for inode %llu with another file type",
		(unsigned long long)dir, (unsigned long long)i->ino);
}

int name_find(struct tfs_fs *fs, struct name_ref *r)
{
	uint64_t gone = TFS_INO_META;
	int err;

	if (r->inode)
		inode_put(r->inode);
	r->inode = NULL;
	for (;;) {
		err = TRANS_READ(t, fs, dir_lookup(t, r->dir->ino, r->name, r->len, &r->de));
		if (err)
			return err;
		err = inode_get(fs, r->de.ino, &r->inode);
		if (!err)
			return name_type(r->inode, r->dir->ino, r->de.type);
		if (err != -ESTALE)
			return err;
		/* unlinked and gone since; numbers are not used twice, so a second time it never
		 * was there */
		if (r->de.ino == gone)
			return tfs_handle_fs_error(
				fs, -EUCLEAN,
				"directory %llu has a name for inode %llu, which does not exist",
				(unsigned long long)r->dir->ino, (unsigned long long)gone);
		gone = r->de.ino;
	}
}

int name_recheck(struct tfs_trans *t, struct name_ref *r)
{
	int err = dir_usable(r->dir);

	if (!err)
		err = dir_lookup(t, r->dir->ino, r->name, r->len, &r->de);
	if (!r->inode)
		return err == -ENOENT && !dir_usable(r->dir) ? 0 : err ? err : -ESTALE;
	if (err)
		return err;
	return r->de.ino == r->inode->ino ? 0 : -ESTALE;
}

void name_put(struct name_ref *r)
{
	if (r->inode)
		inode_put(r->inode);
	if (r->dir)
		inode_put(r->dir);
	r->inode = r->dir = NULL;
}

void dir_changed(struct tfs_inode *dir, int entries, int subdirs, struct timespec now)
{
	pthread_mutex_lock(&dir->attr_lock);
	dir->a.entries += (uint64_t)(int64_t)entries;
	dir->a.nlink += (uint32_t)subdirs;
	dir->a.mtime = dir->a.ctime = now;
	pthread_mutex_unlock(&dir->attr_lock);
}

int drop_link_prefault(struct tfs_trans *t, uint64_t ino)
{
	struct tkey orphan = TKEY(TFS_INO_META, TFS_KEY_ORPHAN, ino);
	int err = btree_prefault(t, TFS_TREE_FS, &orphan);

	return err ? err : inode_prefault(t, ino);
}

int drop_link_check(struct tfs_trans *t, struct tfs_inode *i)
{
	int err = drop_link_prefault(t, i->ino);

	if (!err && (inode_is_dir(i) || i->a.nlink <= 1))
		err = orphan_check(t, i->ino, false);
	return err;
}

int drop_link(struct tfs_trans *t, struct tfs_inode *i, struct timespec now)
{
	uint32_t nlink;
	int err = 0;

	pthread_mutex_lock(&i->attr_lock);
	/* a hostile image may say 0 already */
	nlink = inode_is_dir(i) || !i->a.nlink ? 0 : i->a.nlink - 1;
	i->a.nlink = nlink;
	i->a.ctime = now;
	pthread_mutex_unlock(&i->attr_lock);
	if (!nlink) {
		inode_set_unlinked(i, true);
		err = orphan_add(t, i->ino);
	}
	return err ? err : inode_write(t, i);
}

/* ---- lookup ---- */

/* The lookup count is taken in the section that saw the name: from then on the inode cannot go. */
static int lookup_in_section(struct tfs_trans *t, uint64_t dir, const char *name, size_t len,
			     uint64_t *ino, uint8_t *type)
{
	struct tfs_dirent de;
	int err;

	*type = DT_DIR;
	if (!strcmp(name, ".")) {
		*ino = dir;
		err = 0;
	} else if (!strcmp(name, "..")) {
		err = backref_first(t, dir, ino, &de.cookie);
		if (err == -ENOENT && dir == TFS_INO_ROOT) {
			*ino = dir;
			err = 0;
		}
	} else {
		err = dir_lookup(t, dir, name, len, &de);
		*ino = de.ino;
		*type = de.type;
	}
	return err ? err : lookup_ref(t->fs, *ino, 1);
}

int vfs_lookup(struct tfs_fs *fs, uint64_t dir, const char *name, struct vfs_attr *attr)
{
	int len = name_check(name), err;
	struct tfs_inode *i;
	uint64_t ino;
	uint8_t type;

	if (len < 0)
		return len;
	err = TRANS_READ(t, fs, lookup_in_section(t, dir, name, (size_t)len, &ino, &type));
	if (!err) {
		err = inode_get(fs, ino, &i);
		if (!err) {
			err = name_type(i, dir, type);
			inode_attr(i, attr);
			inode_put(i);
		}
		if (err)
			lookup_unref(fs, ino, 1);
	} else if (err == -ENOENT && !inode_get(fs, dir, &i)) {
		if (!inode_is_dir(i))
			err = -ENOTDIR;
		inode_put(i);
	}
	icache_trim(fs);
	return err == -ESTALE ? -EUCLEAN : err;
}

int vfs_ref(struct tfs_fs *fs, uint64_t ino, uint64_t n)
{
	return lookup_ref(fs, ino, n);
}

void vfs_forget(struct tfs_fs *fs, uint64_t ino, uint64_t n)
{
	lookup_unref(fs, ino, n);
	reap_kick(fs);
}

int vfs_parent(struct tfs_fs *fs, uint64_t ino, uint64_t *dir)
{
	uint64_t cookie;
	int err;

	if (ino == TFS_INO_ROOT) {
		*dir = ino;
		return 0;
	}
	err = TRANS_READ(t, fs, backref_first(t, ino, dir, &cookie));
	return err == -ENOENT ? -ESTALE : err;
}

/* ---- link ---- */

static int link_in_section(struct tfs_trans *t, struct name_ref *r, struct tfs_inode *i)
{
	struct timespec now = tfs_now();
	bool orphan = atomic_load(&i->unlinked);
	int err = name_recheck(t, r);

	if (err)
		return err == -ESTALE ? -EEXIST : err;
	err = inode_may_grow(r->dir);
	if (!err)
		err = inode_may_change(i);
	if (err)
		return err;
	if (i->a.nlink >= TFS_LINK_MAX)
		return -EMLINK;
	err = dir_prefault(t, r->dir->ino, r->name, r->len, i->ino);
	if (!err)
		err = inode_prefault(t, r->dir->ino);
	if (!err)
		err = drop_link_prefault(t, i->ino);
	if (!err && orphan)
		err = orphan_check(t, i->ino, true);
	if (!err)
		err = dir_add(t, r->dir->ino, r->name, r->len, i->ino, dirent_type(i->fmt));
	if (!err && orphan)
		err = orphan_remove(t, i->ino);
	if (err)
		return err;
	pthread_mutex_lock(&i->attr_lock);
	i->a.nlink++;
	i->a.ctime = now;
	pthread_mutex_unlock(&i->attr_lock);
	inode_set_unlinked(i, false);
	dir_changed(r->dir, 1, 0, now);
	err = inode_write(t, i);
	return err ? err : inode_write(t, r->dir);
}

int vfs_link(struct tfs_fs *fs, uint64_t ino, uint64_t dir, const char *name, struct vfs_attr *attr)
{
	struct tfs_inode *i = NULL;
	struct name_ref r;
	int err = name_init(fs, &r, dir, name);

	if (!err)
		err = inode_get(fs, ino, &i);
	if (!err && inode_is_dir(i))
		err = -EPERM;
	if (!err)
		err = lookup_prepare(fs);
	if (!err)
		err = tfs_writable(fs);
	if (!err)
		err = space_check_meta(fs, SPACE_NEW);
	if (err)
		goto out;
	err = TRANS_WRITE(t, fs, TRANS_CREDITS(fs), link_in_section(t, &r, i));
	if (!err)
		err = lookup_ref(fs, ino, 1);
	if (!err)
		inode_attr(i, attr);
out:
	if (i)
		inode_put(i);
	name_put(&r);
	reap_kick(fs);
	return err;
}

/* ---- unlink, rmdir ---- */

static int check_removable(struct tfs_trans *t, struct tfs_inode *i, bool rmdir)
{
	bool empty = true;
	int err;

	if (!rmdir)
		return inode_is_dir(i) ? -EISDIR : 0;
	if (!inode_is_dir(i))
		return -ENOTDIR;
	if (i->ino == TFS_INO_ROOT)
		return -EBUSY;
	err = dir_is_empty(t, i->ino, &empty);
	return err ? err : empty ? 0 : -ENOTEMPTY;
}

static int unlink_in_section(struct tfs_trans *t, struct name_ref *r, bool rmdir)
{
	struct timespec now = tfs_now();
	int err = name_recheck(t, r);

	if (!err)
		err = dir_may_remove(r->dir, r->inode);
	if (!err)
		err = check_removable(t, r->inode, rmdir);
	if (!err)
		err = dir_prefault(t, r->dir->ino, r->name, r->len, r->inode->ino);
	if (!err)
		err = inode_prefault(t, r->dir->ino);
	if (!err)
		err = drop_link_check(t, r->inode);
	if (!err)
		err = dir_remove(t, r->dir->ino, &r->de);
	if (err)
		return err;
	dir_changed(r->dir, -1, rmdir ? -1 : 0, now);
	err = drop_link(t, r->inode, now);
	return err ? err : inode_write(t, r->dir);
}

static int remove_name(struct tfs_fs *fs, uint64_t dir, const char *name, bool rmdir)
{
	struct name_ref r;
	int err = name_init(fs, &r, dir, name);

	while (!err) {
		err = name_find(fs, &r);
		if (err)
			break;
		err = TRANS_WRITE(t, fs, TRANS_CREDITS(fs), unlink_in_section(t, &r, rmdir));
		if (err != -ESTALE)
			break;
		err = 0; /* the name means another inode by now */
	}
	name_put(&r);
	reap_kick(fs);
	return err;
}

int vfs_unlink(struct tfs_fs *fs, uint64_t dir, const char *name)
{
	return remove_name(fs, dir, name, false);
}

int vfs_rmdir(struct tfs_fs *fs, uint64_t dir, const char *name)
{
	if (!strcmp(name, "."))
		return -EINVAL;
	if (!strcmp(name, ".."))
		return -ENOTEMPTY;
	return remove_name(fs, dir, name, true);
}
