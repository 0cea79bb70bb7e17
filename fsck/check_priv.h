/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the checker share. */
#ifndef FSCK_CHECK_PRIV_H
#define FSCK_CHECK_PRIV_H

#include <string.h>
#include "core/lib/log.h"
#include "fs/disk/btree_key.h"
#include "fs/journal/buffer.h"
#include "fs/journal/recover.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"
#include "fsck/check.h"
#include "tallyfs/format.h"

/* A mapped range, for the space check and for reading data in device order. */
struct check_extent {
	uint64_t start; /* block */
	uint64_t ino;
	uint64_t fblock; /* file block of start */
	uint32_t len;
	uint32_t flags;	    /* TFS_EXTENT_* */
	uint64_t eof_bytes; /* file size, to see whether the EOF block lies inside */
};

enum check_hangs { HANGS_UNKNOWN, HANGS_ON_ROOT, HANGS_NOWHERE };
struct check_dir {
	uint64_t ino, parent;
	enum check_hangs hangs;
	size_t climb; /* the last climb that came by */
};

/* A growing array; one element type each. */
struct check_vec {
	void *v;
	size_t nr, cap;
};

/* One inode while its items pass by (they are adjacent in the tree). */
struct check_inode {
	bool have; /* the INODE item was seen */
	struct tfs_inode_item item;
	uint64_t ino;
	uint64_t links;		   /* entries of LINK items */
	uint64_t entries, subdirs; /* of a directory */
	uint64_t parent;	   /* of the last link */
	uint64_t blocks;
	uint64_t next_fblock; /* end of the last extent */
	uint64_t symlink_bytes;
	/* the last piece of a value (XATTR_VALUE, SYMLINK) */
	struct tkey chunk;
	uint32_t chunk_len; /* bytes; 0: none yet */
	bool bad_chunk, bad_target;
	bool have_inline;
	/* out-of-line xattr values: bytes promised by XATTR items, bytes found in chunks */
	uint64_t xattr_promised, xattr_found;
	unsigned int acls; /* seen: bit 0 access, bit 1 default */
};

struct check {
	struct tfs_fs *fs;
	const struct tfs_recovery *rec;
	const struct check_opts *opts;
	struct check_result *res;
	int err;	      /* stops everything */
	bool tree_incomplete; /* some node could not be read: do not report what merely follows */
	bool bitmap_incomplete;

	uint8_t **used;	 /* per group, blocks_per_group bits: referenced by something */
	uint8_t **disk;	 /* per group: the bitmap as found, NULL: unreadable or all free */
	uint8_t **nodes; /* per group, a bit for each place of a node: one was entered there */

	struct check_vec extents;  /* struct check_extent */
	struct check_vec dirs;	   /* struct check_dir, by ino */
	struct check_vec orphans;  /* uint64_t: ORPHAN items */
	struct check_vec unlinked; /* uint64_t: inodes with link count 0 */
	struct check_vec intents;  /* uint64_t */
	struct check_vec refs;	   /* struct check_extent: start, len, fblock = count */

	struct check_inode cur;
	struct tkey last_key;
	bool have_last;
	uint64_t max_ino;
	/* Sums over (directory, cookie, inode, type): names must equal back-references. */
	uint64_t name_sum[2], link_sum[2];
	uint64_t names, links;
	uint64_t extent_items, shared_extents, node_blocks, data_blocks;
	char log_line[300];
	char path[4096 + 256]; /* of path_ino, as check_name() found it last */
	uint64_t path_ino;     /* 0: none */
};

void check_report(struct check *c, enum check_severity sev, const char *code, uint64_t ino,
		  uint64_t block, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
bool check_progress(struct check *c, const char *phase, uint64_t done,
		    uint64_t total); /* false: stop (c->err set) */
/* The same at every so many steps of a loop, however long an image makes it. */
bool check_step(struct check *c, const char *phase, uint64_t done, uint64_t total);
void *check_vec_add(struct check *c, struct check_vec *v,
		    size_t elem); /* NULL: out of memory, c->err set */

/* Cached and verified buffer, referenced; stays valid (nothing changes while we look). */
int check_buf(struct check *c, uint64_t block, enum tfs_buf_kind kind, struct tfs_buf **out);
/* Mark blocks referenced; reports a second reference.  @what and @ino for the message. */
void check_mark(struct check *c, uint64_t block, uint64_t n, const char *what, uint64_t ino);
bool check_block_ok(const struct check *c, uint64_t block,
		    uint64_t n); /* inside the device, clear of fixed structures */
/* Path of an inode for messages ("inode 12 (/a/b)"). */
void check_name(struct check *c, uint64_t ino, char *buf, size_t size);

void check_supers(struct check *c);
void check_groups(struct check *c);
void check_trees(struct check *c);
void check_item(struct check *c, enum tfs_tree_id tree, const struct tkey *key, const void *data,
		uint32_t len);
void check_inode_end(struct check *c);
void check_links(struct check *c);
void check_space(struct check *c);
void check_data(struct check *c);

#endif
