/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An inode by its number: found in memory, or loaded. */
#include <errno.h>
#include <sys/sysmacros.h>
#include "core/lib/list.h"
#include "core/pagecache/pagecache.h"
#include "fs/inode/icache.h"
#include "fs/inode/icache_priv.h"
#include "fs/inode/iget.h"
#include "fs/inode/inode.h"
#include "fs/journal/journal.h"
#include "fs/journal/trans.h"
#include "fs/names/inode_item.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

static struct timespec time_get(const struct tfs_time *t)
{
	return (struct timespec){ .tv_sec = (time_t)(int64_t)le64_get(t->sec),
				  .tv_nsec = le32_get(t->nsec) };
}

static int inode_decode(struct tfs_inode *i, const struct tfs_inode_item *it)
{
	struct tfs_iattr *a = &i->a;
	uint64_t size = le64_get(it->size), rdev = le64_get(it->rdev);

	a->mode = le32_get(it->mode);
	i->fmt = a->mode & S_IFMT;
	a->uid = le32_get(it->uid);
	a->gid = le32_get(it->gid);
	a->nlink = le32_get(it->nlink);
	a->flags = le32_get(it->flags);
	a->xattr_value_id = le32_get(it->xattr_value_id);
	a->blocks = le64_get(it->blocks);
	a->generation = le64_get(it->generation);
	a->rdev = makedev((unsigned int)(rdev >> 32), (unsigned int)rdev);
	a->atime = time_get(&it->atime);
	a->mtime = time_get(&it->mtime);
	a->ctime = time_get(&it->ctime);
	a->btime = time_get(&it->btime);
	if (size > (uint64_t)TFS_MAX_FILE_SIZE)
		return tfs_handle_fs_error(i->fs, -EUCLEAN, "inode %llu: size out of range",
					   (unsigned long long)i->ino);
	switch (a->mode & S_IFMT) {
	case S_IFREG:
	case S_IFLNK:
		i->d_size = size;
		break;
	case S_IFDIR:
		a->entries = size;
		break;
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		break;
	default:
		return tfs_handle_fs_error(i->fs, -EUCLEAN, "inode %llu: unknown type in mode %o",
					   (unsigned long long)i->ino, a->mode);
	}
	return 0;
}

/*
 * Read the item and insert in the same section: no change of the item can come in
 * between.  -EEXIST: somebody else was quicker.
 */
static int load_in_section(struct tfs_trans *t, struct tfs_inode *i)
{
	struct tfs_icache *ic = i->fs->icache;
	struct tfs_inode_item it;
	int err = inode_item_read(t, i->ino, &it);

	if (!err)
		err = inode_decode(i, &it);
	if (err)
		return err;
	atomic_store(&i->unlinked, i->a.nlink == 0);
	/*
	 * It may have been changed, evicted and loaded again within the running transaction: fsync
	 * must wait for that. Before anybody finds it: what they change is in this transaction or a
	 * later one, and not to be forgotten.
	 */
	atomic_store(&i->txid, journal_running_txid(i->fs));
	atomic_store(&i->data_txid, atomic_load(&i->txid));
	pthread_mutex_lock(&ic->lock);
	if (*icache_slot(ic, i->ino)) {
		err = -EEXIST;
	} else {
		inode_init_mapping(i);
		if (inode_is_reg(i))
			i_size_write(&i->mapping, i->d_size);
		icache_insert_locked(ic, i);
	}
	pthread_mutex_unlock(&ic->lock);
	return err;
}

static int inode_load(struct tfs_fs *fs, uint64_t ino, struct tfs_inode **out)
{
	struct tfs_inode *i = inode_alloc(fs);
	int err;

	if (!i)
		return -ENOMEM;
	i->ino = ino;
	err = TRANS_READ(t, fs, load_in_section(t, i));
	if (err) {
		inode_free(i);
		return err == -ENOENT ? -ESTALE : err;
	}
	*out = i;
	return 0;
}

int inode_get(struct tfs_fs *fs, uint64_t ino, struct tfs_inode **out)
{
	struct tfs_icache *ic = fs->icache;
	struct tfs_inode *i;
	int err = 0;

	for (;;) {
		pthread_mutex_lock(&ic->lock);
		i = *icache_slot(ic, ino);
		if (i && i->state & INODE_REAPING) {
			err = -ESTALE;
		} else if (i && i->state & INODE_FREEING) {
			pthread_cond_wait(&ic->cond, &ic->lock);
			pthread_mutex_unlock(&ic->lock);
			continue;
		} else if (i) {
			inode_hold_locked(i);
			*out = i;
		}
		pthread_mutex_unlock(&ic->lock);
		if (i)
			return err;
		err = inode_load(fs, ino, out);
		if (err != -EEXIST)
			return err;
		err = 0;
	}
}
