/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Directories: one DIRENT item per name, under a cookie made of the name's keyed
 * hash and a probe number.  The cookie is also the readdir position, so it never
 * changes while the name exists, and other names come and go around it.
 */
#include <errno.h>
#include <string.h>

#include "core/lib/util.h"
#include "fs/btree/btree.h"
#include "fs/btree/btree_delete.h"
#include "fs/btree/btree_insert.h"
#include "fs/disk/btree_key.h"
#include "fs/disk/siphash.h"
#include "fs/journal/trans.h"
#include "fs/names/dir.h"
#include "fs/names/backref.h"
#include "fs/names/names_prefault.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

#define PROBE_BITS 8
#define NAME_AT ((uint32_t)offsetof(struct tfs_dirent_item, name))
_Static_assert(offsetof(struct tfs_dirent_item, name) == 9, "on-disk layout");

uint64_t dir_cookie(const struct tfs_fs *fs, uint64_t dir, const char *name, size_t len)
{
	uint8_t text[8 + TFS_NAME_MAX];
	le64 number = le64_of(dir);
	uint64_t hash;

	assert(len <= TFS_NAME_MAX);
	memcpy(text, &number, 8);
	memcpy(text + 8, name, len);
	hash = siphash24(fs->hash_key, text, 8 + len) >> 9;
	if (unlikely(fs->opts.break_rules & TFS_BREAK_HASH))
		hash %= 16;
	return (hash ? hash : 1) << PROBE_BITS;
}

static struct tkey dirent_key(uint64_t dir, uint64_t cookie)
{
	return TKEY(dir, TFS_KEY_DIRENT, cookie);
}

static bool is_dots(const uint8_t *name, uint32_t len)
{
	return name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'));
}

/* Is the item an entry that a program may be shown? */
static int check_entry(struct tfs_trans *t, const struct btree_item *it)
{
	const struct tfs_dirent_item *d = it->data;
	uint32_t len = it->len - NAME_AT;

	if (it->len > NAME_AT && len <= TFS_NAME_MAX && !memchr(d->name, 0, len) &&
	    !memchr(d->name, '/', len) && !is_dots(d->name, len) && le64_get(d->ino) &&
	    it->key.off >> PROBE_BITS && it->key.off <= INT64_MAX)
		return 0;
	return tfs_handle_fs_error(t->fs, -EUCLEAN, "directory %llu: the entry at %llu is wrong",
				   (unsigned long long)it->key.ino,
				   (unsigned long long)it->key.off);
}

static void fill_entry(const struct btree_item *it, struct tfs_dirent *de)
{
	const struct tfs_dirent_item *d = it->data;

	de->ino = le64_get(d->ino);
	de->cookie = it->key.off;
	de->type = d->type;
	de->len = (uint8_t)(it->len - NAME_AT);
	memcpy(de->name, d->name, de->len);
	de->name[de->len] = 0;
}

static int check_entry_name(size_t len)
{
	if (len > TFS_NAME_MAX)
		return -ENAMETOOLONG;
	return len ? 0 : -EINVAL;
}

/*
 * Look through all names with this one's hash.  0 with *de (may be NULL), or
 * -ENOENT with *free_cookie: where the name would go, 0 if all probes are taken.
 */
static int find_name(struct tfs_trans *t, uint64_t dir, const char *name, size_t len,
		     struct tfs_dirent *de, uint64_t *free_cookie)
{
	struct btree_path p = BTREE_PATH_INIT;
	uint64_t base = dir_cookie(t->fs, dir, name, len), next = base;
	struct tkey key = dirent_key(dir, base);
	const struct tfs_dirent_item *d;
	struct btree_item it;
	int err;

	for (err = btree_seek(t, TFS_TREE_FS, &key, BTREE_GE, &p); !err; err = btree_next(t, &p)) {
		btree_item(&p, &it);
		if (it.key.ino != dir || it.key.type != TFS_KEY_DIRENT ||
		    (it.key.off - base) >> PROBE_BITS) {
			err = -ENOENT;
			break;
		}
		err = check_entry(t, &it);
		if (err)
			break;
		d = it.data;
		if (it.len - NAME_AT == len && !memcmp(d->name, name, len)) {
			if (de)
				fill_entry(&it, de);
			break;
		}
		if (it.key.off == next)
			next++;
	}
	btree_release(&p);
	*free_cookie = (next - base) >> PROBE_BITS ? 0 : next;
	return err;
}

int dir_lookup(struct tfs_trans *t, uint64_t dir, const char *name, size_t len,
	       struct tfs_dirent *de)
{
	uint64_t cookie;
	int err = check_entry_name(len);

	return err ? err : find_name(t, dir, name, len, de, &cookie);
}

int dir_entry_at(struct tfs_trans *t, uint64_t dir, uint64_t cookie, struct tfs_dirent *de)
{
	struct btree_path p = BTREE_PATH_INIT;
	struct tkey key = dirent_key(dir, cookie);
	struct btree_item it;
	int err;

	err = btree_seek(t, TFS_TREE_FS, &key, BTREE_EQ, &p);
	if (err)
		return err;
	btree_item(&p, &it);
	err = check_entry(t, &it);
	if (!err)
		fill_entry(&it, de);
	btree_release(&p);
	return err;
}

/* Room for the longest entry. */
union dirent_buf {
	struct tfs_dirent_item item;
	uint8_t bytes[NAME_AT + TFS_NAME_MAX];
};

static uint32_t make_entry(union dirent_buf *b, const char *name, size_t len, uint64_t ino,
			   uint8_t type)
{
	b->item.ino = le64_of(ino);
	b->item.type = type;
	memcpy(b->bytes + NAME_AT, name, len);
	return NAME_AT + (uint32_t)len;
}

int dir_add(struct tfs_trans *t, uint64_t dir, const char *name, size_t len, uint64_t ino,
	    uint8_t type)
{
	union dirent_buf b;
	uint64_t cookie;
	struct tkey key;
	int err;

	err = check_entry_name(len);
	if (err)
		return err;
	err = find_name(t, dir, name, len, NULL, &cookie);
	if (err != -ENOENT)
		return err ? err : -EEXIST;
	if (!cookie)
		return -ENOSPC;
	key = dirent_key(dir, cookie);
	err = names_prefault(t, &key);
	if (!err)
		err = backref_can_add(t, ino, cookie, dir);
	if (!err)
		err = btree_insert(t, TFS_TREE_FS, &key, &b, make_entry(&b, name, len, ino, type));
	return err ? err : backref_add(t, ino, cookie, dir);
}

/* Is the entry still what the caller has in mind?  -ENOENT if not. */
static int same_entry(struct tfs_trans *t, uint64_t dir, const struct tfs_dirent *de)
{
	struct tfs_dirent now;
	int err = dir_entry_at(t, dir, de->cookie, &now);

	if (!err &&
	    (now.ino != de->ino || now.len != de->len || memcmp(now.name, de->name, de->len)))
		err = -ENOENT;
	return err;
}

int dir_remove(struct tfs_trans *t, uint64_t dir, const struct tfs_dirent *de)
{
	struct tkey key = dirent_key(dir, de->cookie);
	int err;

	err = same_entry(t, dir, de);
	if (!err)
		err = names_prefault(t, &key);
	if (!err)
		err = backref_can_del(t, de->ino, de->cookie, dir);
	if (!err)
		err = btree_delete(t, TFS_TREE_FS, &key);
	return err ? err : backref_del(t, de->ino, de->cookie, dir);
}

int dir_replace(struct tfs_trans *t, uint64_t dir, const struct tfs_dirent *de, uint64_t ino,
		uint8_t type)
{
	struct tkey key = dirent_key(dir, de->cookie);
	union dirent_buf b;
	int err;

	err = same_entry(t, dir, de);
	if (!err)
		err = names_prefault(t, &key);
	if (!err && ino != de->ino)
		err = backref_can_del(t, de->ino, de->cookie, dir);
	if (!err && ino != de->ino)
		err = backref_can_add(t, ino, de->cookie, dir);
	if (!err)
		err = btree_update(t, TFS_TREE_FS, &key, &b,
				   make_entry(&b, de->name, de->len, ino, type));
	if (!err && ino != de->ino)
		err = backref_del(t, de->ino, de->cookie, dir);
	if (!err && ino != de->ino)
		err = backref_add(t, ino, de->cookie, dir);
	return err;
}

int dir_prefault(struct tfs_trans *t, uint64_t dir, const char *name, size_t len, uint64_t ino)
{
	struct tfs_dirent de;
	uint64_t cookie;
	struct tkey key;
	int err;

	err = check_entry_name(len);
	if (err)
		return err;
	err = find_name(t, dir, name, len, &de, &cookie);
	if (!err) {
		cookie = de.cookie;
		key = TKEY(de.ino, TFS_KEY_LINK, cookie);
		err = names_prefault(t, &key);
	} else if (err == -ENOENT) {
		err = 0;
	}
	if (!err) {
		key = dirent_key(dir, cookie);
		err = names_prefault(t, &key);
	}
	if (!err && ino) {
		key = TKEY(ino, TFS_KEY_LINK, cookie);
		err = names_prefault(t, &key);
	}
	return err;
}

int dir_next(struct tfs_trans *t, uint64_t dir, uint64_t after, struct tfs_dirent *de)
{
	struct btree_path p = BTREE_PATH_INIT;
	struct tkey key = dirent_key(dir, after + 1);
	struct btree_item it;
	int err;

	if (after >= INT64_MAX)
		return -ENOENT;
	err = btree_seek(t, TFS_TREE_FS, &key, BTREE_GE, &p);
	if (err)
		return err;
	btree_item(&p, &it);
	if (it.key.ino != dir || it.key.type != TFS_KEY_DIRENT) {
		err = -ENOENT;
	} else {
		err = check_entry(t, &it);
		if (!err)
			fill_entry(&it, de);
		if (!p.node[p.depth - 1].slot) /* a listing that has come to a new leaf */
			btree_readahead(t, &p);
	}
	btree_release(&p);
	return err;
}

int dir_is_empty(struct tfs_trans *t, uint64_t dir, bool *empty)
{
	struct tfs_dirent de;
	int err = dir_next(t, dir, 0, &de);

	*empty = err == -ENOENT;
	return *empty ? 0 : err;
}
