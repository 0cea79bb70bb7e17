/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Items: each makes sense by itself, and those of one inode make sense together. */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include "core/lib/util.h"
#include "fs/disk/btree_key.h"
#include "fs/journal/trans.h"
#include "fs/names/acl.h"
#include "fs/names/chunks.h"
#include "fs/names/dir.h"
#include "fsck/check_priv.h"
#include "tallyfs/format.h"

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

/*
 * Order-independent sums of (directory, cookie, inode, type): equal sums over all
 * names and over all back-references mean equal sets, but for 2^-128.
 */
static void sum_add(uint64_t sum[2], uint64_t dir, uint64_t cookie, uint64_t ino, uint8_t type)
{
	uint64_t h = mix(dir + mix(cookie + mix(ino * 31 + type)));

	sum[0] += h;
	sum[1] += mix(h ^ 0x9e3779b97f4a7c15ull);
}

static void bad_item(struct check *c, const struct tkey *k, const char *what)
{
	check_report(c, CHECK_ERROR, "item-bad", k->ino, UINT64_MAX, "item (%llu %u %llu): %s",
		     (unsigned long long)k->ino, k->type, (unsigned long long)k->off, what);
}

static uint8_t dt_of(uint32_t mode)
{
	return (mode & S_IFMT) >> 12;
}

static void item_inode(struct check *c, const struct tkey *k, const void *data, uint32_t len)
{
	struct check_inode *in = &c->cur;
	uint32_t fmt;

	if (len != sizeof(in->item) || k->off) {
		bad_item(c, k, "not an inode item");
		return;
	}
	memcpy(&in->item, data, sizeof(in->item));
	in->have = true;
	fmt = le32_get(in->item.mode) & S_IFMT;
	if (fmt != S_IFREG && fmt != S_IFDIR && fmt != S_IFLNK && fmt != S_IFCHR &&
	    fmt != S_IFBLK && fmt != S_IFIFO && fmt != S_IFSOCK)
		bad_item(c, k, "unknown file type");
	if (le32_get(in->item.flags) & ~(uint32_t)TFS_INODE_FLAGS_ALL)
		bad_item(c, k, "unknown flags");
	if (le32_get(in->item.flags) & (TFS_INODE_IMMUTABLE | TFS_INODE_APPEND) && fmt != S_IFREG &&
	    fmt != S_IFDIR)
		bad_item(c, k, "immutable or append-only, but neither file nor directory");
	c->res->inodes++;
	c->res->directories += fmt == S_IFDIR;
	c->res->files += fmt == S_IFREG;
	if ((k->ino < TFS_INO_FIRST && k->ino != TFS_INO_ROOT) || k->ino > INT64_MAX)
		bad_item(c, k, "no number for an inode");
	else if (k->ino > c->max_ino)
		c->max_ino = k->ino;
	if (le64_get(in->item.size) > (uint64_t)TFS_MAX_FILE_SIZE)
		bad_item(c, k, "size out of range");
}

static void item_link(struct check *c, const struct tkey *k, const void *data, uint32_t len)
{
	const le64 *dirs = data;

	if (!len || len % sizeof(*dirs) || k->off < 256 || k->off >> 63) {
		bad_item(c, k, "not a back-reference");
		return;
	}
	for (uint32_t i = 0; i < len / sizeof(*dirs); i++) {
		sum_add(c->link_sum, le64_get(dirs[i]), k->off, k->ino,
			dt_of(le32_get(c->cur.item.mode)));
		c->links++;
		c->cur.links++;
		c->cur.parent = le64_get(dirs[i]);
	}
}

static void item_dirent(struct check *c, const struct tkey *k, const void *data, uint32_t len)
{
	const struct tfs_dirent_item *de = data;
	uint32_t nlen = len - sizeof(*de);

	if (len <= sizeof(*de) || nlen > TFS_NAME_MAX || memchr(de->name, '/', nlen) ||
	    memchr(de->name, 0, nlen)) {
		bad_item(c, k, "not a directory entry");
		return;
	}
	if ((nlen == 1 && de->name[0] == '.') ||
	    (nlen == 2 && de->name[0] == '.' && de->name[1] == '.'))
		bad_item(c, k, "\".\" or \"..\" as an entry");
	if (k->off >> 8 != dir_cookie(c->fs, k->ino, (const char *)de->name, nlen) >> 8)
		bad_item(c, k, "name is not where its hash belongs");
	sum_add(c->name_sum, k->ino, k->off, le64_get(de->ino), de->type);
	c->names++;
	c->cur.entries++;
	c->cur.subdirs += de->type == DT_DIR;
}

static const char *const acl_names[] = { ACL_NAME_ACCESS, ACL_NAME_DEFAULT };

/* An ACL may lie out of line: it is read when all items of the inode have passed. */
static void check_acl(struct check *c, unsigned int which)
{
	struct check_inode *in = &c->cur;
	uint32_t mode = le32_get(in->item.mode), says = mode;
	const char *what = NULL;
	struct tfs_acl acl;
	int err;

	err = TRANS_READ(t, c->fs, acl_read(t, in->ino, acl_names[which], &acl));
	if (err == -ENOMEM)
		c->err = err;
	else if (err || S_ISLNK(mode) || (which && !S_ISDIR(mode)))
		what = err ? "makes no sense" : "is on a file that can have none";
	else if (!which && (acl_to_mode(&acl, &says), says != mode))
		what = "does not agree with the mode";
	if (what)
		check_report(c, CHECK_ERROR, "acl", in->ino, UINT64_MAX, "inode %llu: %s %s",
			     (unsigned long long)in->ino, acl_names[which], what);
}

static void item_xattr(struct check *c, const struct tkey *k, const void *data, uint32_t len)
{
	const struct tfs_xattr_item *x = data;
	uint32_t vlen;

	if (len < sizeof(*x) || !x->name_len || len < sizeof(*x) + x->name_len ||
	    memchr(x->name, 0, x->name_len)) {
		bad_item(c, k, "not an extended attribute");
		return;
	}
	vlen = le32_get(x->value_len);
	if (vlen > TFS_XATTR_MAX ||
	    (le32_get(x->value_id) ? len != sizeof(*x) + x->name_len
				   : len != sizeof(*x) + x->name_len + vlen))
		bad_item(c, k, "extended attribute of impossible length");
	else if (le32_get(x->value_id))
		c->cur.xattr_promised += vlen;
	for (unsigned int a = 0; a < ARRAY_SIZE(acl_names); a++)
		if (x->name_len == strlen(acl_names[a]) &&
		    !memcmp(x->name, acl_names[a], x->name_len))
			c->cur.acls |= 1u << a;
}

static void item_extent(struct check *c, const struct tkey *k, const void *data, uint32_t len)
{
	const struct tfs_extent_item *e = data;
	struct check_inode *in = &c->cur;
	struct check_extent *x;
	uint64_t start;
	uint32_t n;

	if (len != sizeof(*e) || !le32_get(e->len) || le32_get(e->flags) > TFS_EXTENT_SHARED) {
		bad_item(c, k, "not an extent");
		return;
	}
	start = le64_get(e->start);
	n = le32_get(e->len);
	if (!check_block_ok(c, start, n) ||
	    k->off > (uint64_t)TFS_MAX_FILE_SIZE >> c->fs->geom.blkbits) {
		bad_item(c, k, "extent outside the device");
		return;
	}
	if (k->off < in->next_fblock || (in->have_inline && !k->off))
		bad_item(c, k, "extent overlaps another one");
	in->next_fblock = k->off + n;
	in->blocks += n;
	c->extent_items++;
	if (!(le32_get(e->flags) & TFS_EXTENT_SHARED)) {
		c->data_blocks += n;
		check_mark(c, start, n, "a file", k->ino);
	}
	x = check_vec_add(c, &c->extents, sizeof(*x));
	if (x)
		*x = (struct check_extent){ .start = start,
					    .ino = k->ino,
					    .fblock = k->off,
					    .len = n,
					    .flags = le32_get(e->flags),
					    .eof_bytes = le64_get(in->item.size) };
}

static void item_meta(struct check *c, const struct tkey *k, const void *data, uint32_t len)
{
	uint64_t *v;

	switch (k->type) {
	case TFS_KEY_ORPHAN:
		v = check_vec_add(c, &c->orphans, sizeof(*v));
		if (v)
			*v = k->off;
		c->res->orphans++;
		break;
	case TFS_KEY_INTENT:
		if (len != sizeof(struct tfs_intent_item) ||
		    le32_get(((const struct tfs_intent_item *)data)->op) != TFS_INTENT_TRUNCATE) {
			bad_item(c, k, "unknown intent");
			break;
		}
		v = check_vec_add(c, &c->intents, sizeof(*v));
		if (v)
			*v = k->off;
		break;
	case TFS_KEY_DAMAGE:
		if (len != sizeof(struct tfs_damage_item))
			bad_item(c, k, "not a damage item");
		break;
	case TFS_KEY_LOST:
		if (len != sizeof(struct tfs_lost_item))
			bad_item(c, k, "not an item of lost data");
		break;
	default:
		bad_item(c, k, "unknown type");
	}
}

static void end_dir(struct check *c)
{
	const struct check_inode *in = &c->cur;
	unsigned long long ino = in->ino, size = le64_get(in->item.size);
	uint32_t nlink = le32_get(in->item.nlink);

	if (ino != TFS_INO_ROOT && nlink && in->links != 1)
		check_report(c, CHECK_ERROR, "dir-links", ino, UINT64_MAX,
			     "directory %llu has %llu names", ino, (unsigned long long)in->links);
	if (nlink && nlink != 2 + in->subdirs)
		check_report(c, CHECK_ERROR, "nlink", ino, UINT64_MAX,
			     "directory %llu: link count %u, counted %llu", ino, nlink,
			     (unsigned long long)(2 + in->subdirs));
	if (size != in->entries)
		check_report(c, CHECK_ERROR, "dir-size", ino, UINT64_MAX,
			     "directory %llu: size says %llu entries, counted %llu", ino, size,
			     (unsigned long long)in->entries);
}

static void end_nondir(struct check *c)
{
	const struct check_inode *in = &c->cur;
	unsigned long long ino = in->ino;
	uint32_t nlink = le32_get(in->item.nlink);

	if (nlink != in->links)
		check_report(c, CHECK_ERROR, "nlink", ino, UINT64_MAX,
			     "inode %llu: link count %u, counted %llu", ino, nlink,
			     (unsigned long long)in->links);
	if (in->entries)
		check_report(c, CHECK_ERROR, "entries-in-file", ino, UINT64_MAX,
			     "inode %llu is no directory but has entries", ino);
}

static void end_content(struct check *c)
{
	const struct check_inode *in = &c->cur;
	unsigned long long ino = in->ino, size = le64_get(in->item.size),
			   blocks = le64_get(in->item.blocks);
	uint32_t mode = le32_get(in->item.mode);

	if (in->blocks != blocks)
		check_report(c, CHECK_LEAK, "inode-blocks", ino, UINT64_MAX,
			     "inode %llu: says %llu blocks, counted %llu", ino, blocks,
			     (unsigned long long)in->blocks);
	if (!S_ISREG(mode) && (in->blocks || in->have_inline))
		check_report(c, CHECK_ERROR, "data-in-nonfile", ino, UINT64_MAX,
			     "inode %llu is no regular file but has content", ino);
	if (S_ISLNK(mode) && le32_get(in->item.nlink) &&
	    (in->symlink_bytes != size || !in->symlink_bytes ||
	     in->symlink_bytes > TFS_SYMLINK_MAX || in->bad_target))
		check_report(c, CHECK_ERROR, "symlink", ino, UINT64_MAX,
			     "symbolic link %llu: %s target of %llu bytes, size says %llu", ino,
			     in->bad_target ? "impossible" : "a",
			     (unsigned long long)in->symlink_bytes, size);
}

/* Of an inode being removed they may be gone in part. */
static void end_values(struct check *c)
{
	const struct check_inode *in = &c->cur;

	if (in->bad_chunk)
		check_report(c, CHECK_ERROR, "value", in->ino, UINT64_MAX,
			     "inode %llu: a value has a piece of impossible length",
			     (unsigned long long)in->ino);
	if (in->xattr_promised != in->xattr_found)
		check_report(c, CHECK_ERROR, "xattr-value", in->ino, UINT64_MAX,
			     "inode %llu: extended attributes lie out of line with %llu bytes, "
			     "found %llu",
			     (unsigned long long)in->ino, (unsigned long long)in->xattr_promised,
			     (unsigned long long)in->xattr_found);
	for (unsigned int a = 0; a < ARRAY_SIZE(acl_names); a++)
		if (in->acls & 1u << a)
			check_acl(c, a);
}

/* For check_names.c: does it hang on the root? */
static void list_dir(struct check *c)
{
	const struct check_inode *in = &c->cur;
	bool root = in->ino == TFS_INO_ROOT;
	struct check_dir *d = check_vec_add(c, &c->dirs, sizeof(*d));

	if (d)
		*d = (struct check_dir){ .ino = in->ino,
					 .parent = root ? TFS_INO_ROOT : in->parent,
					 .hangs = root || !le32_get(in->item.nlink)
							  ? HANGS_ON_ROOT
							  : HANGS_UNKNOWN };
}

/* ... is it listed as an orphan? */
static void list_unlinked(struct check *c)
{
	uint64_t *v = check_vec_add(c, &c->unlinked, sizeof(*v));

	if (v)
		*v = c->cur.ino;
}

/* Does what was collected of the inode fit together? */
void check_inode_end(struct check *c)
{
	const struct check_inode *in = &c->cur;
	bool dir = S_ISDIR(le32_get(in->item.mode));

	if (!in->ino || c->tree_incomplete)
		return;
	if (!in->have) {
		check_report(c, CHECK_ERROR, "inode-missing", in->ino, UINT64_MAX,
			     "inode %llu has items but no inode item", (unsigned long long)in->ino);
		return;
	}
	if (dir)
		end_dir(c);
	else
		end_nondir(c);
	end_content(c);
	if (le32_get(in->item.nlink))
		end_values(c);
	else
		list_unlinked(c);
	if (dir)
		list_dir(c);
}

/* A piece of a value: all but the last are of one size.  Of an inode being removed some may be
 * gone. */
static void item_chunk(struct check *c, const struct tkey *k, const void *data, uint32_t len)
{
	struct check_inode *in = &c->cur;
	bool follows = in->chunk_len && in->chunk.type == k->type && in->chunk.off + 1 == k->off;

	if (!len || len > chunk_size(c->fs) || (follows && in->chunk_len != chunk_size(c->fs)))
		in->bad_chunk = true;
	if (k->type == TFS_KEY_SYMLINK) {
		in->symlink_bytes += len;
		in->bad_target |= (k->off && !follows) || memchr(data, 0, len);
	} else {
		in->xattr_found += len;
		in->bad_chunk |= (uint32_t)k->off && !follows;
	}
	in->chunk = *k;
	in->chunk_len = len;
}

static void item_of_inode(struct check *c, const struct tkey *k, const void *data, uint32_t len)
{
	if (k->ino != c->cur.ino) {
		check_inode_end(c);
		memset(&c->cur, 0, sizeof(c->cur));
		c->cur.ino = k->ino;
	}
	switch (k->type) {
	case TFS_KEY_INODE:
		item_inode(c, k, data, len);
		break;
	case TFS_KEY_LINK:
		item_link(c, k, data, len);
		break;
	case TFS_KEY_XATTR:
		item_xattr(c, k, data, len);
		break;
	case TFS_KEY_XATTR_VALUE:
	case TFS_KEY_SYMLINK:
		item_chunk(c, k, data, len);
		break;
	case TFS_KEY_INLINE:
		if (k->off || len > c->fs->geom.inline_max)
			bad_item(c, k, "inline data of impossible place or size");
		c->cur.have_inline = true;
		break;
	case TFS_KEY_EXTENT:
		item_extent(c, k, data, len);
		break;
	case TFS_KEY_DIRENT:
		item_dirent(c, k, data, len);
		break;
	default:
		bad_item(c, k, "unknown type");
	}
}

void check_item(struct check *c, enum tfs_tree_id tree, const struct tkey *key, const void *data,
		uint32_t len)
{
	struct check_extent *x;

	if (tree == TFS_TREE_FS && key->ino == TFS_INO_META) {
		item_meta(c, key, data, len);
	} else if (tree == TFS_TREE_FS) {
		item_of_inode(c, key, data, len);
	} else if (tree == TFS_TREE_REFS && key->type == TFS_KEY_REFS &&
		   len == sizeof(struct tfs_refs_item)) {
		const struct tfs_refs_item *r = data;

		if (!le32_get(r->len) || !check_block_ok(c, key->off, le32_get(r->len))) {
			bad_item(c, key, "reference count for blocks outside the device");
			return;
		}
		x = check_vec_add(c, &c->refs, sizeof(*x));
		if (x)
			*x = (struct check_extent){ .start = key->off,
						    .len = le32_get(r->len),
						    .fblock = le32_get(r->count) };
	} else {
		bad_item(c, key, "unknown type");
	}
}
