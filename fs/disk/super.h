/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The superblock's places: reading one, searching for copies, comparing and mending them. */
#ifndef FS_SUPER_H
#define FS_SUPER_H

#include "core/block/bdev.h"
#include "fs/disk/geom.h"
#include "tallyfs/format.h"

/* The superblock at device byte @off, whole and with a geometry that makes sense.  0, -EINVAL,
 * -EUCLEAN, -EPROTONOSUPPORT, -EIO, -ENOMEM; one line in @why. */
int tfs_super_read_at(struct bdev *b, uint64_t off, struct tfs_super *super, struct tfs_geom *geom,
		      char *why, size_t why_len);

/*
 * Device bytes where a copy may lie if nothing is known, in order of trust: the device's end for
 * each block size, then the end of group 0.  How many.
 */
#define TFS_SUPER_PLACES 14
unsigned int tfs_super_places(const struct bdev *b, uint64_t places[TFS_SUPER_PLACES]);

/* Without a good primary: the newest copy that can be believed.  0; -ENOENT none was found;
 * -EUCLEAN none can be believed; -ENOMEM; one line in @why. */
int tfs_super_find_copy(struct bdev *b, struct tfs_super *super, struct tfs_geom *geom, char *why,
			size_t why_len);

/* Do both tell of the same file system: everything up to the first field that changes? */
bool tfs_super_same(const struct tfs_super *a, const struct tfs_super *b);

enum tfs_super_fault {
	TFS_SUPER_GOOD,	   /* also: there is no such copy */
	TFS_SUPER_BAD,	   /* unreadable or damaged: see @why */
	TFS_SUPER_FOREIGN, /* of another file system */
	TFS_SUPER_OTHER_TXID,
};
/*
 * What is at the place of @which (0 primary, 1 and 2 copies), held against @want, the one in force?
 * *found: what was read, unless BAD.
 */
enum tfs_super_fault tfs_super_look(struct bdev *b, int which, const struct tfs_super *want,
				    const struct tfs_geom *g, struct tfs_super *found, char *why,
				    size_t why_len);
/* Write @super there, alone, and flush.  0 or -errno. */
int tfs_super_put(struct bdev *b, int which, const struct tfs_super *super,
		  const struct tfs_geom *g);

/*
 * Superblock alone: read the one at @which (-1: first that is good; 0
 * primary; 1 and 2 the copies), verify, fill *super and *geom.
 */
int tfs_super_read(struct bdev *b, int which, struct tfs_super *super, struct tfs_geom *geom,
		   char *why, size_t why_len);

/*
 * Is this a superblock we can read: magic, checksum, version, features?  0; -EINVAL no tallyfs;
 * -EUCLEAN damaged; -EPROTONOSUPPORT.  One line in @why.
 */
int tfs_super_check(const struct tfs_super *super, char *why, size_t why_len);
void tfs_super_seal(struct tfs_super *super); /* compute csum */

#endif
