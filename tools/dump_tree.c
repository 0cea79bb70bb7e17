/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tallydump: tree nodes, inodes, extents. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include "core/lib/util.h"
#include "fs/btree/btree.h"
#include "fs/disk/btree_key.h"
#include "fs/journal/buffer.h"
#include "fs/journal/trans.h"
#include "fs/names/path.h"
#include "tallyfs/format.h"
#include "tools/dump.h"
#include "tools/dump_print.h"

static const char *type_name(unsigned int type)
{
	static const char *const names[] = {
		[TFS_KEY_INODE] = "inode",     [TFS_KEY_LINK] = "link",
		[TFS_KEY_XATTR] = "xattr",     [TFS_KEY_XATTR_VALUE] = "xattr value",
		[TFS_KEY_SYMLINK] = "symlink", [TFS_KEY_INLINE] = "inline",
		[TFS_KEY_EXTENT] = "extent",   [TFS_KEY_DIRENT] = "dirent",
		[TFS_KEY_ORPHAN] = "orphan",   [TFS_KEY_INTENT] = "intent",
		[TFS_KEY_DAMAGE] = "damage",   [TFS_KEY_LOST] = "lost",
		[TFS_KEY_REFS] = "refs",
	};

	return type < ARRAY_SIZE(names) && names[type] ? names[type] : "unknown";
}

/* ---- what items hold ---- */

static void inode_item(struct json_object *o, const struct tfs_inode_item *it)
{
	char mode[16];

	snprintf(mode, sizeof(mode), "%07o", le32_get(it->mode));
	dump_str(o, "mode", mode);
	dump_u64(o, "uid", le32_get(it->uid));
	dump_u64(o, "gid", le32_get(it->gid));
	dump_u64(o, "nlink", le32_get(it->nlink));
	dump_u64(o, "size", le64_get(it->size));
	dump_u64(o, "blocks", le64_get(it->blocks));
	dump_u64(o, "generation", le64_get(it->generation));
	dump_u64(o, "rdev", le64_get(it->rdev));
	dump_u64(o, "flags", le32_get(it->flags));
	if (le32_get(it->flags) & TFS_INODE_LOST)
		json_object_object_add(o, "data_lost", json_object_new_boolean(true));
	if (le32_get(it->flags) & TFS_INODE_IMMUTABLE)
		json_object_object_add(o, "immutable", json_object_new_boolean(true));
	if (le32_get(it->flags) & TFS_INODE_APPEND)
		json_object_object_add(o, "append_only", json_object_new_boolean(true));
	dump_time(o, "atime", le64_get(it->atime.sec), le32_get(it->atime.nsec));
	dump_time(o, "mtime", le64_get(it->mtime.sec), le32_get(it->mtime.nsec));
	dump_time(o, "ctime", le64_get(it->ctime.sec), le32_get(it->ctime.nsec));
	dump_time(o, "btime", le64_get(it->btime.sec), le32_get(it->btime.nsec));
}

static void extent_item(struct json_object *o, const struct tfs_extent_item *e)
{
	dump_u64(o, "start", le64_get(e->start));
	dump_u64(o, "blocks", le32_get(e->len));
	if (le32_get(e->flags) & TFS_EXTENT_UNWRITTEN)
		json_object_object_add(o, "unwritten", json_object_new_boolean(true));
	if (le32_get(e->flags) & TFS_EXTENT_SHARED)
		json_object_object_add(o, "shared", json_object_new_boolean(true));
}

static void link_item(struct json_object *o, const le64 *dirs, uint32_t n)
{
	struct json_object *a = dump_array(o, "directories");

	while (n--)
		json_object_array_add(a, json_object_new_uint64(le64_get(*dirs++)));
}

static void xattr_item(struct json_object *o, const struct tfs_xattr_item *x, uint32_t len)
{
	uint32_t name = min_t(uint32_t, x->name_len, len - (uint32_t)sizeof(*x));

	cli_json_path(o, "name", (const char *)x->name, name);
	dump_u64(o, "value_len", le32_get(x->value_len));
	dump_u64(o, "value_id", le32_get(x->value_id));
}

static void damage_item(struct json_object *o, const struct tfs_damage_item *m)
{
	dump_u64(o, "inode", le64_get(m->ino));
	dump_u64(o, "offset", le64_get(m->offset));
	dump_time(o, "time", le64_get(m->time), 0);
	cli_json_hex(o, "expected", le64_get(m->expected));
	cli_json_hex(o, "found", le64_get(m->found));
	dump_u64(o, "kind", le32_get(m->kind));
	dump_u64(o, "count", le32_get(m->count));
}

static void lost_item(struct json_object *o, const struct tfs_lost_item *l)
{
	dump_time(o, "time", le64_get(l->time), 0);
	dump_u64(o, "bytes", le64_get(l->bytes));
	dump_u64(o, "count", le32_get(l->count));
}

void dump_item(struct json_object *o, uint8_t type, const void *data, uint32_t len)
{
	const struct tfs_dirent_item *de = data;
	const struct tfs_intent_item *in = data;
	const struct tfs_refs_item *refs = data;

	if (type == TFS_KEY_INODE && len == sizeof(struct tfs_inode_item)) {
		inode_item(o, data);
	} else if (type == TFS_KEY_EXTENT && len == sizeof(struct tfs_extent_item)) {
		extent_item(o, data);
	} else if (type == TFS_KEY_LINK) {
		link_item(o, data, len / 8);
	} else if (type == TFS_KEY_XATTR && len >= sizeof(struct tfs_xattr_item)) {
		xattr_item(o, data, len);
	} else if (type == TFS_KEY_DIRENT && len > sizeof(*de)) {
		dump_u64(o, "inode", le64_get(de->ino));
		dump_u64(o, "dtype", de->type);
		cli_json_path(o, "name", (const char *)de->name, len - sizeof(*de));
	} else if (type == TFS_KEY_SYMLINK) {
		cli_json_path(o, "target", data, len);
	} else if (type == TFS_KEY_INTENT && len == sizeof(*in)) {
		dump_u64(o, "op", le32_get(in->op));
		dump_u64(o, "arg", le64_get(in->arg));
	} else if (type == TFS_KEY_DAMAGE && len == sizeof(struct tfs_damage_item)) {
		damage_item(o, data);
	} else if (type == TFS_KEY_LOST && len == sizeof(struct tfs_lost_item)) {
		lost_item(o, data);
	} else if (type == TFS_KEY_REFS && len == sizeof(*refs)) {
		dump_u64(o, "blocks", le32_get(refs->len));
		dump_u64(o, "references", le32_get(refs->count));
	} else {
		dump_u64(o, "bytes", len);
	}
}

static void add_key(struct json_object *o, const struct tkey *k, bool ino)
{
	if (ino)
		dump_u64(o, "ino", k->ino);
	dump_str(o, "type", type_name(k->type));
	if (!strcmp(type_name(k->type), "unknown"))
		dump_u64(o, "type_number", k->type);
	dump_u64(o, "off", k->off);
	if (k->snap)
		dump_u64(o, "snap", k->snap);
}

/* ---- nodes ---- */

static void add_node(struct dump *d, struct json_object *o, const struct tfs_node *n)
{
	const struct tfs_child *c = (const struct tfs_child *)(n + 1);
	const struct tfs_item *it = (const struct tfs_item *)(n + 1);
	unsigned int i, nr = le16_get(n->nritems);
	struct json_object *rows, *r;
	struct tkey k;

	dump_u64(o, "node", d->n);
	dump_u64(o, "level", le16_get(n->level));
	dump_u64(o, "items", nr);
	dump_u64(o, "txid", le64_get(n->txid));
	dump_u64(o, "tree", le32_get(n->tree));
	dump_u64(o, "data_start", le32_get(n->data_start));
	dump_u64(o, "data_holes", le32_get(n->data_holes));
	rows = dump_array(o, le16_get(n->level) ? "children" : "contents");
	for (i = 0; i < nr; i++) {
		r = dump_row(rows);
		if (le16_get(n->level)) {
			k = tkey_get(&c[i].key);
			add_key(r, &k, true);
			dump_u64(r, "addr", le64_get(c[i].addr));
			continue;
		}
		k = tkey_get(&it[i].key);
		add_key(r, &k, true);
		dump_item(r, k.type, (const char *)n + le32_get(it[i].off), le32_get(it[i].len));
	}
}

static int get_node(struct tfs_trans *t, struct dump *d, void *arg)
{
	struct tfs_buf *b;
	int err = buf_get(t, d->n, BUF_NODE, &b);

	if (err)
		return err;
	add_node(d, arg, buf_data(b));
	buf_put(b);
	return 0;
}

int dump_node(struct dump *d, struct json_object *o)
{
	int err;

	if (d->n >= d->geom.total_blocks)
		return dump_fail(d, -ERANGE, "node %llu: there are only %llu blocks",
				 (unsigned long long)d->n,
				 (unsigned long long)d->geom.total_blocks);
	err = dump_section(d, get_node, o);
	if (err == -EUCLEAN)
		return dump_fail(d, err, "node %llu: there is none, or it is damaged",
				 (unsigned long long)d->n);
	return err ? dump_fail(d, err, "node %llu: %s", (unsigned long long)d->n, strerror(-err))
		   : 0;
}

/* ---- all items of an inode ---- */

struct walk {
	struct tkey next; /* where to go on: sections start over when a node must be read */
	uint8_t type;	  /* 0: all */
	uint64_t ino;
	bool extents; /* keys as file blocks */
};

static void walk_item(struct dump *d, struct walk *w, const struct btree_item *it)
{
	struct json_object *r = json_object_new_object();

	if (w->extents)
		dump_u64(r, "file_block", it->key.off);
	else
		add_key(r, &it->key, false);
	dump_item(r, it->key.type, it->data, it->len);
	dump_emit(d, r);
	w->next = it->key;
	if (!++w->next.off && !++w->next.type)
		w->next.ino++;
}

static int walk(struct tfs_trans *t, struct dump *d, void *arg)
{
	struct btree_path p = BTREE_PATH_INIT;
	struct walk *w = arg;
	struct btree_item it;
	int err;

	err = btree_seek(t, TFS_TREE_FS, &w->next, BTREE_GE, &p);
	while (!err) {
		btree_item(&p, &it);
		if (it.key.ino != w->ino || (w->type && it.key.type != w->type))
			break;
		walk_item(d, w, &it);
		err = btree_next(t, &p);
	}
	btree_release(&p);
	return err == -ENOENT ? 0 : err;
}

struct named {
	struct tfs_inode_item item;
	char path[PATH_MAX];
};

static int get_inode(struct tfs_trans *t, struct dump *d, void *arg)
{
	struct tkey k = TKEY(d->n, TFS_KEY_INODE, 0);
	struct named *n = arg;
	int err = btree_lookup(t, TFS_TREE_FS, &k, &n->item, sizeof(n->item));

	if (err)
		return err;
	err = inode_path(t, d->n, n->path, sizeof(n->path));
	if (err && err != -TRANS_RESTART) /* unlinked, or damaged: the inode itself can be shown */
		n->path[0] = err = 0;
	return err;
}

static int start_inode(struct dump *d, struct json_object *o, struct named *n)
{
	int err = dump_section(d, get_inode, n);

	if (err == -ENOENT)
		return dump_fail(d, err, "inode %llu: there is none", (unsigned long long)d->n);
	if (err)
		return dump_fail(d, err, "inode %llu: %s", (unsigned long long)d->n,
				 strerror(-err));
	dump_u64(o, "inode", d->n);
	if (n->path[0])
		cli_json_path(o, "path", n->path, strlen(n->path));
	return 0;
}

static int walk_all(struct dump *d, void *arg)
{
	int err = dump_section(d, walk, arg);

	return err ? dump_fail(d, err, "inode %llu: %s", (unsigned long long)d->n, strerror(-err))
		   : 0;
}

/* The inode's items from @type on (@only: of that type), as they are printed: there may be
 * millions. */
static int walk_later(struct dump *d, const char *key, uint8_t type, bool only)
{
	struct walk *w = tl_alloc(sizeof(*w));

	if (!w)
		return dump_fail(d, -ENOMEM, "out of memory");
	*w = (struct walk){ .next = TKEY(d->n, type, 0),
			    .type = only ? type : 0,
			    .ino = d->n,
			    .extents = type == TFS_KEY_EXTENT };
	d->later_arg = w;
	d->later_free = tl_free;
	dump_later(d, key, walk_all);
	return 0;
}

int dump_inode(struct dump *d, struct json_object *o)
{
	struct named n;
	int err = start_inode(d, o, &n);

	if (err)
		return err;
	inode_item(o, &n.item);
	return walk_later(d, "contents", 0, false);
}

int dump_extents(struct dump *d, struct json_object *o)
{
	struct named n;
	int err = start_inode(d, o, &n);

	if (err)
		return err;
	dump_u64(o, "size", le64_get(n.item.size));
	dump_u64(o, "blocks", le64_get(n.item.blocks));
	return walk_later(d, "extents", TFS_KEY_EXTENT, true);
}
