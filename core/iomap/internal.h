/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of iomap share among themselves. */
#ifndef CORE_IOMAP_INTERNAL_H
#define CORE_IOMAP_INTERNAL_H

#include "core/iomap/iomap.h"
#include "core/pagecache/pagecache_internal.h"

/* Folios looked up at once, and locked at once to be read into. */
#define READ_BATCH 64

/* ---- read_io.c ---- */
#define READ_MAX_BYTES (1u << 20) /* per bio */

struct read_io;
/* One reading of missing blocks, over a row of locked folios. */
struct read_op {
	struct address_space *m;
	const struct iomap_ops *ops;
	unsigned int flags; /* for iomap_begin */
	bool sync; /* read_op_finish() waits; otherwise folios are unlocked and put as they complete
		    */
	struct folio **folios;
	unsigned int nr_folios;
	uint64_t end;	      /* file bytes, where reading will stop: sizes what is allocated */
	struct read_io *cur;  /* being built */
	struct list_head ios; /* sync: submitted */
	unsigned int inflight;
	uint64_t missed; /* blocks */
	pthread_mutex_t lock;
	pthread_cond_t done;
	int error; /* first one */
};
void read_op_init(struct read_op *op, struct address_space *m, const struct iomap_ops *ops,
		  struct folio **folios, unsigned int nr, bool sync);
/* Missing blocks [first, first + n) of @f, all inside @map. 0 or -errno. */
int read_op_run(struct read_op *op, struct folio *f, unsigned int first, unsigned int n,
		const struct iomap *map);
/* Submit the last bio; sync: wait for all, find out which blocks failed.  Returns the first
 * error. */
int read_op_finish(struct read_op *op);

/* ---- suspect.c ---- */
/* Tuple bytes of one block at most: 64 KiB of 512-byte intervals, 16 bytes each. */
#define MAX_BLOCK_TUPLES 2048

/* Bytes of tuples per block that @map brings along; 0: none. */
unsigned int iomap_tuple_bytes(const struct address_space *m, const struct iomap *map);
/* Those of the block at @pos. */
const void *iomap_tuple(const struct address_space *m, const struct iomap *map, uint64_t pos);
/* Does a block at @pos have nothing to read, by this mapping and the file's size? */
bool iomap_needs_zeroing(struct address_space *m, const struct iomap *map, uint64_t pos);

/* A block that a bio failed on. */
struct iomap_suspect {
	struct address_space *m;
	struct bdev *bdev;
	uint64_t pos, dev;
	struct seg *seg; /* of @data; NULL: the caller keeps it alive */
	void *data;
	unsigned int tuple_bytes;
	unsigned char tuples[MAX_BLOCK_TUPLES];
	uint64_t expected, found;
};
/*
 * The bio ended with @status, and s->data is what it left.  0: s->data is right after all (read
 * again, or the block has moved); -EIO: the block is bad and that has been reported; -ENOMEM,
 * -errno of iomap_begin.
 */
int iomap_suspect_resolve(struct iomap_suspect *s, const struct iomap_ops *ops, int status);

/* ---- read.c ---- */
/* Read what is missing of [start, end) (file bytes, block aligned) into the op's folios. */
void read_op_fill(struct read_op *op, uint64_t start, uint64_t end);
/*
 * Make blocks [first, first + n) of a locked folio uptodate.  @map: they all lie in it and can be
 * read from it directly, see iomap_readable_map(); NULL: the file system is asked.
 */
int iomap_read_blocks(struct folio *f, unsigned int first, unsigned int n,
		      const struct iomap_ops *ops, const struct iomap *map);

/* ---- write.c ---- */
/*
 * Put @len bytes of @src from @src_off on (@src NULL: zeros) at byte @off of a
 * locked folio.  Returns bytes done or -errno; *dirtied grows by the blocks that
 * turned dirty.
 */
int64_t folio_write(struct folio *f, size_t off, size_t len, const struct iomap_src *src,
		    size_t src_off, const struct iomap_iter *it, const struct iomap_ops *ops,
		    uint64_t *dirtied);
/* @map, if the block at @pos can be read from it; NULL: it lacks the tuples that the device
 * wants. */
const struct iomap *iomap_readable_map(struct address_space *m, const struct iomap *map,
				       uint64_t pos);
/* The folio at @pos, locked, if the mapping still holds; NULL: *err is set, or 0 and the mapping is
 * stale. */
struct folio *iomap_get_folio(struct iomap_iter *it, uint64_t pos, const struct iomap_ops *ops,
			      int *err);
/* Does the block have memory that may be changed?  State lock held. */
bool folio_block_writable(const struct folio *f, struct folio_state *fs, unsigned int i);

/*
 * Walk [pos, pos + len) with @body, which does one mapping and returns bytes done or -errno,
 * looking at the dirty limit whenever about a megabyte has been dirtied.  0 or -errno.
 */
int iomap_walk_throttled(struct address_space *m, uint64_t pos, uint64_t len, unsigned int flags,
			 const struct iomap_ops *ops,
			 int64_t (*body)(struct iomap_iter *it, const struct iomap_ops *ops,
					 void *arg),
			 void *arg);

/* ---- ioend.c ---- */
/* An ioend without bios; NULL: out of memory. */
struct iomap_ioend *iomap_ioend_alloc(struct address_space *m,
				      const struct iomap_writeback_ops *ops);
void iomap_ioend_free(struct iomap_ioend *ioend); /* and its bios */
#define IOEND_BIO_BYTES (1u << 20)		  /* a bio of an ioend takes no more */
/*
 * See that @nr bios of @vecs pieces each are there for iomap_ioend_add_bio(): to be called before
 * the blocks get their space, for there is no way to give that back.  How many are, of @nr.  The
 * first of an ioend comes from @bs (may be NULL); with @wait it is waited for if need be, until
 * others have ended: what the caller has built so far must have been submitted.
 */
unsigned int iomap_ioend_reserve(struct iomap_ioend *ioend, unsigned int nr, unsigned int vecs,
				 struct bio_set *bs, bool wait);
/* One of them, for what follows in the ioend. */
struct bio *iomap_ioend_add_bio(struct iomap_ioend *ioend, struct bdev *bdev);
/* It begins at file offset @offset, where @map says. */
void iomap_ioend_start(struct iomap_ioend *ioend, const struct iomap *map, uint64_t offset);
/* All bios of the ioend are built: send them, or fail it with @error; either way it completes the
 * normal way. */
void iomap_ioend_submit(struct iomap_ioend *ioend, int error);

/* ---- direct.c, direct_write.c ---- */
/* Can a device that takes this file's blocks read and write them at @mem? */
bool iomap_dio_aligned(const struct address_space *m, const void *mem);
/* The ioend of a direct write that began at file offset @pos is over, and gone. */
void iomap_dio_end_ioend(struct iomap_dio *dio, uint64_t pos, int error);

#endif
