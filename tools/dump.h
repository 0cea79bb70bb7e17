/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tallydump: each command makes one JSON object; as text it is printed by the
 * same code for all.  Rows that may be too many to keep are made while they are printed.
 */
#ifndef TOOLS_DUMP_H
#define TOOLS_DUMP_H

#include "common/cli.h"
#include "core/block/bdev.h"
#include "fs/disk/geom.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

struct dump;
typedef int dump_rows_fn(struct dump *d, void *arg);

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
	bool json;
	/* arrays behind the object's other members */
	struct {
		const char *key;
		dump_rows_fn *rows;
	} later[2];
	unsigned int nr_later;
	uint64_t nr_emitted; /* rows of the one being printed */
	void *later_arg;
	void (*later_free)(void *arg);
};

/*
 * Add what is asked for to @o.  0, or a negative errno with d->why set.
 */
typedef int dump_fn(struct dump *d, struct json_object *o);
dump_fn dump_super, dump_group, dump_tuple, dump_block, dump_node, dump_inode, dump_extents,
	dump_journal;
/* These print themselves, or nothing, but for ls. */
dump_fn dump_ls, dump_cat, dump_extract;

__attribute__((format(printf, 3, 4))) int dump_fail(struct dump *d, int err, const char *fmt, ...);
/* Sets d->bdev.  @udev: a rule looks at devices that others have open. */
int dump_open_image(struct dump *d, bool udev);
/* Sets d->fs: the metadata, or with @files all, as if it were mounted. */
int dump_open_fs(struct dump *d, bool files);
void dump_close(struct dump *d);
/* Run @fn in a read section. */
int dump_section(struct dump *d, int (*fn)(struct tfs_trans *t, struct dump *d, void *arg),
		 void *arg);
/* What an item holds, as members of @o. */
void dump_item(struct json_object *o, uint8_t type, const void *data, uint32_t len);

#endif
