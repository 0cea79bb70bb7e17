/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values that do not fit into one item: symbolic link targets and large attributes. */
#include <errno.h>
#include <string.h>

#include "core/lib/util.h"
#include "fs/alloc/alloc_node.h"
#include "fs/btree/btree.h"
#include "fs/btree/btree_delete.h"
#include "fs/btree/btree_insert.h"
#include "fs/disk/btree_key.h"
#include "fs/journal/trans.h"
#include "fs/names/chunks.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

uint32_t chunk_size(const struct tfs_fs *fs)
{
	return (uint32_t)round_down_to(TFS_MAX_ITEM(fs->geom.node_size), 64);
}

static unsigned int nr_chunks(const struct tfs_fs *fs, size_t len)
{
	return (unsigned int)div_up(len, chunk_size(fs));
}

static struct tkey chunk_key(const struct tkey *base, unsigned int i)
{
	struct tkey key = *base;

	key.off += i;
	return key;
}

int chunks_prefault(struct tfs_trans *t, const struct tkey *base, size_t len, size_t old_len)
{
	unsigned int i, n = nr_chunks(t->fs, len), old = nr_chunks(t->fs, old_len);
	struct tkey key;
	int err = 0;

	if (t->modified)
		return 0;
	for (i = 0; !err && i < max_t(unsigned int, old, 1); i++) {
		key = chunk_key(base, i);
		err = btree_prefault(t, TFS_TREE_FS, &key);
	}
	/* a leaf takes at least three chunks; the levels above split once at most, or twice at the
	 * edge of a node */
	if (!err && n > old)
		err = alloc_prefault_nodes(t, 0,
					   (n - old) / 3 + 2 + 2 * t->fs->roots[TFS_TREE_FS].level);
	return err;
}

int chunks_write(struct tfs_trans *t, const struct tkey *base, const void *data, size_t len,
		 size_t old_len)
{
	unsigned int i, n = nr_chunks(t->fs, len), old = nr_chunks(t->fs, old_len);
	uint32_t size = chunk_size(t->fs);
	struct tkey key;
	int err = 0;

	for (i = 0; !err && i < n; i++) {
		key = chunk_key(base, i);
		err = btree_set(t, TFS_TREE_FS, &key, (const char *)data + (size_t)i * size,
				(uint32_t)min_t(size_t, size, len - (size_t)i * size));
	}
	for (; !err && i < old; i++) {
		key = chunk_key(base, i);
		err = btree_delete(t, TFS_TREE_FS, &key);
		if (err == -ENOENT) /* gone already is what was wanted */
			err = 0;
	}
	return err;
}

static bool is_chunk(const struct tkey *base, unsigned int i, const struct tkey *key)
{
	return key->ino == base->ino && key->type == base->type && key->off == base->off + i;
}

int chunks_read(struct tfs_trans *t, const struct tkey *base, void *buf, size_t size, size_t limit)
{
	struct btree_path p = BTREE_PATH_INIT;
	uint32_t chunk = chunk_size(t->fs), last = chunk;
	struct btree_item it;
	unsigned int i;
	size_t len = 0;
	int err;

	err = btree_seek(t, TFS_TREE_FS, base, BTREE_EQ, &p);
	for (i = 0; !err; i++) {
		btree_item(&p, &it);
		if (!is_chunk(base, i, &it.key))
			break;
		if (!it.len || it.len > chunk || last != chunk || it.len > limit - len) {
			btree_release(&p);
			return tfs_handle_fs_error(
				t->fs, -EUCLEAN, "inode %llu: chunk %u of value (%u %llu) is wrong",
				(unsigned long long)base->ino, i, base->type,
				(unsigned long long)base->off);
		}
		last = it.len;
		if (len + it.len <= size)
			memcpy((char *)buf + len, it.data, it.len);
		len += it.len;
		err = btree_next(t, &p);
	}
	btree_release(&p);
	if (err && err != -ENOENT)
		return err;
	return len > size ? -ERANGE : (int)len;
}
