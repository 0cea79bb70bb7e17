/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tallydump: each command makes one JSON object; as text it is printed by the
 * same code for all.
 */
#ifndef TOOLS_DUMP_H
#define TOOLS_DUMP_H

#include "fs/alloc.h"
#include "tools/cli.h"

struct dump {
	const char *path;
	struct bdev *bdev;
	struct tfs_fs *fs; /* read-only, journal replayed in memory; NULL for what needs less */
	struct tfs_super super;
	struct tfs_geom geom;
	uint64_t n;	 /* the command's number */
	char *args[2];	 /* or its other arguments; NULL: not given */
	char why[300];	 /* on failure, one line */
	bool incomplete; /* something could not be shown, and that was said: exit 1 */
};

/*
 * Add what is asked for to @o.  0, or a negative errno with d->why set.
 */
typedef int dump_fn(struct dump *d, struct json_object *o);
dump_fn dump_super, dump_group, dump_tuple, dump_block, dump_node, dump_inode, dump_extents, dump_journal;
/* These print themselves, or nothing, but for ls. */
dump_fn dump_ls, dump_cat, dump_extract;

__attribute__((format(printf, 3, 4))) int dump_fail(struct dump *d, int err, const char *fmt, ...);
/* Members of @o. */
void dump_u64(struct json_object *o, const char *key, uint64_t v);
void dump_str(struct json_object *o, const char *key, const char *v);
void dump_time(struct json_object *o, const char *key, uint64_t sec, uint32_t nsec);
/* An array under @key, to be filled. */
struct json_object *dump_array(struct json_object *o, const char *key);
/* An object at the end of @array, to be filled. */
struct json_object *dump_row(struct json_object *array);
/* Run @fn in a read section. */
int dump_section(struct dump *d, int (*fn)(struct tfs_trans *t, struct dump *d, void *arg), void *arg);
/* What an item holds, as members of @o. */
void dump_item(struct json_object *o, uint8_t type, const void *data, uint32_t len);

#endif
