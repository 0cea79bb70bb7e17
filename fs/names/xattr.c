/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Extended attributes: one XATTR item per name, found by a cookie like a directory
 * entry's.  A short value follows the name in the item; a long one lies in chunks
 * of its own, so that the items stay small enough to be searched through.
 */
#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "core/lib/util.h"
#include "fs/btree/btree.h"
#include "fs/btree/btree_delete.h"
#include "fs/btree/btree_insert.h"
#include "fs/btree/btree_node.h"
#include "fs/disk/btree_key.h"
#include "fs/journal/trans.h"
#include "fs/names/chunks.h"
#include "fs/names/dir.h"
#include "fs/names/names_prefault.h"
#include "fs/names/xattr.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

#define HEAD ((uint32_t)sizeof(struct tfs_xattr_item))
#define PROBE_BITS 8
#define ID_TRIES 1000
/* bytes; the kernel takes 64 KiB, and an image may hold any number of names */
#define LIST_MAX (1u << 20)

/* Where an attribute is, or would go. */
struct place {
	bool exists;
	struct tkey key; /* off 0: all probes are taken by others */
	uint32_t value_len, value_id;
};

static int check_item(struct tfs_trans *t, const struct btree_item *it)
{
	const struct tfs_xattr_item *x = it->data;
	uint32_t rest, len;

	if (it->len < HEAD || !x->name_len || it->len - HEAD < x->name_len ||
	    memchr(x->name, 0, x->name_len))
		goto bad;
	rest = it->len - HEAD - x->name_len;
	len = le32_get(x->value_len);
	if (len > TFS_XATTR_MAX || (le32_get(x->value_id) ? rest != 0 || !len : rest != len))
		goto bad;
	return 0;
bad:
	return tfs_handle_fs_error(
		t->fs, -EUCLEAN, "inode %llu: the extended attribute at %llu is wrong",
		(unsigned long long)it->key.ino, (unsigned long long)it->key.off);
}

/* Fill *pl; the path stands on the item if there is one, else it is released. */
static int find_xattr(struct tfs_trans *t, uint64_t ino, const char *name, size_t len,
		      struct btree_path *p, struct place *pl)
{
	uint64_t base = dir_cookie(t->fs, ino, name, len), next = base;
	const struct tfs_xattr_item *x;
	struct btree_item it;
	int err;

	*pl = (struct place){ .key = TKEY(ino, TFS_KEY_XATTR, base) };
	for (err = btree_seek(t, TFS_TREE_FS, &pl->key, BTREE_GE, p); !err;
	     err = btree_next(t, p)) {
		btree_item(p, &it);
		if (it.key.ino != ino || it.key.type != TFS_KEY_XATTR ||
		    (it.key.off - base) >> PROBE_BITS)
			break;
		err = check_item(t, &it);
		if (err)
			break;
		x = it.data;
		if (x->name_len == len && !memcmp(x->name, name, len)) {
			*pl = (struct place){ true, it.key, le32_get(x->value_len),
					      le32_get(x->value_id) };
			return 0;
		}
		if (it.key.off == next)
			next++;
	}
	btree_release(p);
	pl->key.off = (next - base) >> PROBE_BITS ? 0 : next;
	return err == -ENOENT ? 0 : err;
}

static struct tkey value_key(uint64_t ino, uint32_t id)
{
	return TKEY(ino, TFS_KEY_XATTR_VALUE, (uint64_t)id << 32);
}

static int check_xattr_name(const char *name, size_t *len)
{
	*len = strnlen(name, TFS_NAME_MAX + 1);
	return *len && *len <= TFS_NAME_MAX ? 0 : -ERANGE;
}

/* The chunks of a long value. */
static int get_long(struct tfs_trans *t, uint64_t ino, const struct place *pl, void *buf,
		    size_t size)
{
	struct tkey base = value_key(ino, pl->value_id);
	int len = chunks_read(t, &base, buf, size, pl->value_len);

	if (len >= 0 && (uint32_t)len != pl->value_len)
		return tfs_handle_fs_error(t->fs, -EUCLEAN,
					   "inode %llu: an extended attribute has %d of %u bytes",
					   (unsigned long long)ino, len, pl->value_len);
	return len;
}

static int get_short(const struct btree_item *it, size_t name_len, uint32_t len, void *buf)
{
	memcpy(buf, (const char *)it->data + HEAD + name_len, len);
	return (int)len;
}

int xattr_get(struct tfs_trans *t, uint64_t ino, const char *name, void *buf, size_t size)
{
	struct btree_path p = BTREE_PATH_INIT;
	struct btree_item it;
	struct place pl;
	size_t len;
	int err;

	err = check_xattr_name(name, &len);
	if (!err)
		err = find_xattr(t, ino, name, len, &p, &pl);
	if (err)
		return err;
	if (!pl.exists)
		return -ENODATA;
	btree_item(&p, &it);
	if (!size)
		err = (int)pl.value_len;
	else if (size < pl.value_len)
		err = -ERANGE;
	else if (pl.value_id)
		err = get_long(t, ino, &pl, buf, size);
	else
		err = get_short(&it, len, pl.value_len, buf);
	btree_release(&p);
	return err;
}

/* A value id without chunks.  The counter is only a hint: it may have wrapped. */
static int new_value_id(struct tfs_trans *t, uint64_t ino, uint32_t last, uint32_t *id)
{
	struct btree_path p = BTREE_PATH_INIT;
	struct btree_item it;
	struct tkey key;
	int err, i;

	for (i = 0; i < ID_TRIES; i++) {
		*id = ++last ? last : ++last;
		key = value_key(ino, *id);
		err = btree_seek(t, TFS_TREE_FS, &key, BTREE_GE, &p);
		if (err)
			return err == -ENOENT ? 0 : err;
		btree_item(&p, &it);
		btree_release(&p);
		if (it.key.ino != ino || it.key.type != key.type || it.key.off >> 32 != *id)
			return 0;
	}
	return -ENOSPC;
}

static bool fits_item(const struct tfs_fs *fs, size_t name_len, size_t len)
{
	return HEAD + name_len + len <= TFS_MAX_ITEM(fs->geom.node_size) / 2;
}

static struct tfs_xattr_item *make_item(const char *name, size_t name_len, const void *value,
					size_t len, uint32_t id, uint32_t *item_len)
{
	size_t tail = id ? 0 : len;
	struct tfs_xattr_item *x;

	*item_len = (uint32_t)(HEAD + name_len + tail);
	x = tl_alloc(*item_len);
	if (!x)
		return NULL;
	x->value_len = le32_of((uint32_t)len);
	x->value_id = le32_of(id);
	x->name_len = (uint8_t)name_len;
	memcpy(x->name, name, name_len);
	if (tail)
		memcpy(x->name + name_len, value, tail);
	return x;
}

/* Everything is checked: prefault, then change.  @id 0: the value goes into the item. */
static int replace(struct tfs_trans *t, const struct place *pl, uint32_t id, const void *value,
		   size_t len, const struct tfs_xattr_item *x, uint32_t item_len)
{
	struct tkey base = value_key(pl->key.ino, id ? id : pl->value_id);
	size_t old_len = pl->value_id ? pl->value_len : 0;
	int err;

	if (!id)
		len = 0;
	err = names_prefault(t, &pl->key);
	if (!err && (len || old_len))
		err = chunks_prefault(t, &base, len, old_len);
	if (!err)
		err = chunks_write(t, &base, value, len, old_len);
	return err ? err : btree_set(t, TFS_TREE_FS, &pl->key, x, item_len);
}

/* May the attribute be set, and under which value id?  0: in the item. */
static int plan(struct tfs_trans *t, const struct place *pl, const struct tfs_inode_item *it,
		size_t name_len, size_t len, int flags, uint32_t *id)
{
	*id = 0;
	if (pl->exists && flags & XATTR_CREATE)
		return -EEXIST;
	if (!pl->exists && flags & XATTR_REPLACE)
		return -ENODATA;
	if (!pl->key.off)
		return -ENOSPC;
	if (fits_item(t->fs, name_len, len))
		return 0;
	*id = pl->value_id;
	return *id ? 0 : new_value_id(t, pl->key.ino, le32_get(it->xattr_value_id), id);
}

int xattr_set(struct tfs_trans *t, uint64_t ino, struct tfs_inode_item *it, const char *name,
	      const void *value, size_t len, int flags)
{
	struct btree_path p = BTREE_PATH_INIT;
	struct tfs_xattr_item *x;
	uint32_t id, item_len;
	struct place pl;
	size_t name_len;
	int err;

	if (len > TFS_XATTR_MAX)
		return -E2BIG;
	err = check_xattr_name(name, &name_len);
	if (!err)
		err = find_xattr(t, ino, name, name_len, &p, &pl);
	btree_release(&p);
	if (!err)
		err = plan(t, &pl, it, name_len, len, flags, &id);
	if (err)
		return err;
	x = make_item(name, name_len, value, len, id, &item_len);
	if (!x)
		return -ENOMEM;
	err = replace(t, &pl, id, value, len, x, item_len);
	if (!err && id && id != pl.value_id)
		it->xattr_value_id = le32_of(id);
	tl_free(x);
	return err;
}

int xattr_remove(struct tfs_trans *t, uint64_t ino, const char *name)
{
	struct btree_path p = BTREE_PATH_INIT;
	struct place pl;
	struct tkey base;
	size_t len;
	int err;

	err = check_xattr_name(name, &len);
	if (!err)
		err = find_xattr(t, ino, name, len, &p, &pl);
	btree_release(&p);
	if (err)
		return err;
	if (!pl.exists)
		return -ENODATA;
	err = names_prefault(t, &pl.key);
	if (!err && pl.value_id) {
		base = value_key(ino, pl.value_id);
		err = chunks_prefault(t, &base, 0, pl.value_len);
		if (!err)
			err = chunks_write(t, &base, NULL, 0, pl.value_len);
	}
	return err ? err : btree_delete(t, TFS_TREE_FS, &pl.key);
}

int xattr_prefault(struct tfs_trans *t, uint64_t ino, const char *name, size_t len)
{
	struct btree_path p = BTREE_PATH_INIT;
	struct place pl;
	struct tkey base;
	size_t name_len;
	int err;

	err = check_xattr_name(name, &name_len);
	if (!err)
		err = find_xattr(t, ino, name, name_len, &p, &pl);
	btree_release(&p);
	if (!err)
		err = names_prefault(t, &pl.key);
	if (err || (!pl.value_id && fits_item(t->fs, name_len, len)))
		return err;
	/* which id a new value will have does not matter: the ids of one inode are neighbours */
	base = value_key(ino, pl.value_id ? pl.value_id : 1);
	return chunks_prefault(t, &base, len, pl.value_id ? pl.value_len : 0);
}

int xattr_list(struct tfs_trans *t, uint64_t ino, char *buf, size_t size)
{
	struct btree_path p = BTREE_PATH_INIT;
	const struct tfs_xattr_item *x;
	struct btree_item it;
	size_t len = 0;
	int err;

	err = btree_seek(t, TFS_TREE_FS, &TKEY(ino, TFS_KEY_XATTR, 0), BTREE_GE, &p);
	for (; !err; err = btree_next(t, &p)) {
		btree_item(&p, &it);
		if (it.key.ino != ino || it.key.type != TFS_KEY_XATTR)
			break;
		err = check_item(t, &it);
		if (err)
			break;
		x = it.data;
		if (len + x->name_len + 1 <= size) {
			memcpy(buf + len, x->name, x->name_len);
			buf[len + x->name_len] = 0;
		}
		len += x->name_len + 1u;
		if (len > LIST_MAX) {
			err = -E2BIG;
			break;
		}
	}
	btree_release(&p);
	if (err && err != -ENOENT)
		return err;
	return size && len > size ? -ERANGE : (int)len;
}
