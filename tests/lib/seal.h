/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images that lie behind good checksums: after bytes of an unmounted image in memory were changed,
 * whatever vouches for them is made to agree.  Places are those of the file system as it was when
 * seal_open() looked.
 */
#ifndef TESTS_LIB_SEAL_H
#define TESTS_LIB_SEAL_H

#include "fs/disk/geom.h"
#include "tallyfs/format.h"

struct seal {
	uint8_t *image;
	struct tfs_geom geom;
	uint64_t seed;
	enum tfs_guard guard;
};

/* By the primary superblock at @image, which must be good.  0 or -EUCLEAN. */
int seal_open(struct seal *s, void *image);
void *seal_at(const struct seal *s, uint64_t block);

/* Tuples of @n blocks, which lie in one group, as they are now. */
void seal_blocks(const struct seal *s, uint64_t first, uint32_t n, enum tfs_app_tag app);
/* The group's header vouches for its bitmap; for the tuple block of @block. */
void seal_bitmap(const struct seal *s, uint64_t group);
void seal_tuples(const struct seal *s, uint64_t block);
void seal_header(const struct seal *s, uint64_t group);
/* The superblock at @block. */
void seal_super(const struct seal *s, uint64_t block);

/* Log block @pos, of the header or the ring. */
void *seal_log_at(const struct seal *s, uint64_t pos);
uint64_t seal_log_blocks(const struct seal *s); /* the ring's end */
/* A log header or a commit record at @pos. */
void seal_log_block(const struct seal *s, uint64_t pos);
/* The commit record at @pos says what its payload is now, if the payload it speaks of can be. */
void seal_commit(const struct seal *s, uint64_t pos);
/*
 * Behind what is at home, with the log empty: one transaction of @len bytes of records, @bytes of
 * them as the commit record says.  False: it does not fit, or the log's header makes no sense.
 */
bool seal_transaction(const struct seal *s, const void *records, uint64_t len, uint64_t bytes);

#endif
