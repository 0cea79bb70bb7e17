/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * iomap: buffered I/O between a page cache and a file system that answers one
 * question, "what is at this offset?".  The user-space twin of Linux's
 * fs/iomap (docs/IO.md, rows B1 to B18).
 */
#ifndef CORE_IOMAP_H
#define CORE_IOMAP_H

#include "core/pagecache/folio_state.h"

enum iomap_type { IOMAP_HOLE, IOMAP_DELALLOC, IOMAP_MAPPED, IOMAP_UNWRITTEN, IOMAP_INLINE };

enum {
	IOMAP_F_NEW = 1 << 0,	 /* freshly allocated: zero what is not written */
	IOMAP_F_SHARED = 1 << 1, /* blocks shared with another file */
	IOMAP_F_STALE = 1 << 2,
};

#define IOMAP_NULL_ADDR UINT64_MAX

struct iomap {
	uint64_t addr;	 /* device bytes, or IOMAP_NULL_ADDR */
	uint64_t offset; /* file bytes, block aligned */
	uint64_t length; /* bytes, > 0, block aligned (IOMAP_INLINE: the first block) */
	enum iomap_type type;
	unsigned int flags;
	struct bdev *bdev;
	/* IOMAP_INLINE: content of block 0; the rest of the block reads as zeros.  Valid until
	 * iomap_end. */
	const void *inline_data;
	uint32_t inline_len;
	/*
	 * IOMAP_MAPPED for reading: one tuple per block of the whole mapping,
	 * captured together with it, so that a block freed and reused meanwhile can
	 * never be taken for this file's.  NULL: the device has no integrity
	 * (or it is switched off).  Owned by the file system until iomap_end.
	 */
	const void *tuples;
	uint64_t validity; /* cookie of the mapping, see iomap_valid */
	void *private;
};

enum {
	IOMAP_WRITE = 1 << 0,
	IOMAP_ZERO = 1 << 1,
	IOMAP_REPORT = 1 << 2, /* SEEK_DATA, extent listing */
	IOMAP_FAULT = 1 << 3,
	IOMAP_DIRECT = 1 << 4,
	IOMAP_UNSHARE = 1 << 5,
	IOMAP_NOWAIT = 1 << 6, /* of iomap_file_buffered_read() alone */
};

struct iomap_ops {
	/*
	 * Map from @pos (any byte) at most @length bytes; *iomap must cover @pos.
	 * *srcmap is preset to IOMAP_HOLE: leave it, unless the data to be read before a
	 * partial write lies elsewhere than *iomap says.
	 *
	 * With IOMAP_WRITE, IOMAP_ZERO or IOMAP_UNSHARE the file system reserves space
	 * for every block of the mapping it returns.  0 or -errno (-ENOSPC, ...).
	 *
	 * For reading, and with IOMAP_FAULT, folios may be locked: it must not wait
	 * for writeback then.  A write that covers a block in part asks for that block
	 * once more for reading, between its own begin and end, if its mapping brought
	 * no tuples and the device wants them.
	 */
	int (*iomap_begin)(struct address_space *m, uint64_t pos, uint64_t length,
			   unsigned int flags, struct iomap *iomap, struct iomap *srcmap);
	/*
	 * @written bytes were done; @dirtied blocks went from clean to dirty (each
	 * keeps its reservation; reservations for the others go back now).
	 */
	int (*iomap_end)(struct address_space *m, uint64_t pos, uint64_t length, uint64_t written,
			 uint64_t dirtied, unsigned int flags, struct iomap *iomap);
	/* May be NULL.  False if the mapping may have changed since begin (checked with the folio
	 * locked). */
	bool (*iomap_valid)(struct address_space *m, const struct iomap *iomap);
	/*
	 * May be NULL.  A block was read well but did not match its tuple, and a
	 * second look with a fresh mapping said the same.  For the log, the
	 * counters and the damage list.  No lock but the folio's is held.
	 */
	void (*read_mismatch)(struct address_space *m, uint64_t pos, uint64_t dev_addr,
			      uint64_t expected, uint64_t found);
};

/* One step of an operation on a range; see iomap_iter(). */
struct iomap_iter {
	struct address_space *mapping;
	uint64_t pos, len; /* bytes left to do */
	int64_t processed; /* set by the body: bytes done in this step, or -errno */
	uint64_t dirtied;  /* set by the body: blocks it turned from clean to dirty */
	unsigned int flags;
	struct iomap iomap, srcmap;
};
/* 1: a mapping to work on; 0: finished; -errno.  Call until <= 0. */
int iomap_iter(struct iomap_iter *it, const struct iomap_ops *ops);
/* bytes of the current mapping left within the operation */
uint64_t iomap_length(const struct iomap_iter *it);
/* the map to read from */
static inline const struct iomap *iomap_iter_srcmap(const struct iomap_iter *it)
{
	return it->srcmap.type != IOMAP_HOLE ? &it->srcmap : &it->iomap;
}

/* ---- reading (B3, B4, B8) ---- */
/* Fill every block of the locked folio that is not uptodate and unlock it when the I/O is done.  0
 * or -errno. */
int iomap_read_folio(struct folio *f, const struct iomap_ops *ops);
/*
 * Start reading [pos, pos+len) (grown to whole blocks), merged across folios;
 * waits for nothing; errors show on re-read.
 */
void iomap_readahead(struct address_space *m, uint64_t pos, uint64_t len,
		     const struct iomap_ops *ops);
/*
 * To be told after each buffered read of bytes [pos, end) whose content has been handed on.  If
 * that is how a sequential reader goes on, what comes next is fetched; and what lies some MiB
 * behind is dropped, since the reader has its copy (the kernel caches what it reads from us).
 *
 * The first step only takes note of the read, and says if there is anything to do; the second does
 * it, and may wait for the device (for metadata of the file system).  The caller holds the inode
 * lock shared.
 */
struct iomap_ahead {
	uint64_t fetch, fetch_len;   /* bytes to fetch; length 0: none */
	uint64_t behind, behind_end; /* bytes to drop; equal: none */
};
bool iomap_read_note(struct address_space *m, uint64_t pos, uint64_t end,
		     struct iomap_ahead *ahead);
void iomap_read_ahead(struct address_space *m, const struct iomap_ahead *ahead,
		      const struct iomap_ops *ops);

/*
 * Buffered read, zero copy: pins the memory of [pos, pos+len) and describes it.
 * Fails only if not a single byte can be had; a bad block in the middle ends the
 * result before it.  The caller holds the inode lock shared (size stable).
 */
struct iomap_read_result {
	struct iovec *iov; /* nr_iov pieces, file order */
	struct seg **segs; /* nr_iov references (or NULL: static zero memory) */
	unsigned int nr_iov;
	size_t bytes;
};
/*
 * Bytes clipped to i_size; 0 with res->bytes == 0 at EOF.
 * @flags: 0, or IOMAP_NOWAIT: waits for no I/O and starts none; all or nothing, -EAGAIN when
 * something is missing, -ENOMEM.
 */
int iomap_file_buffered_read(struct address_space *m, uint64_t pos, size_t len, unsigned int flags,
			     const struct iomap_ops *ops, struct iomap_read_result *res);
void iomap_read_result_release(struct iomap_read_result *res);

/* ---- writing (B7 to B12) ---- */
struct iomap_src {
	const void *buf;
	size_t len;
	/* If set, [buf, buf+len) lies in this segment and whole, aligned blocks may be adopted
	 * instead of copied. */
	struct seg *seg;
};
/*
 * Bytes written (which may be short of src->len) or -errno.  Inode lock held
 * exclusive.  Moves i_size after the copy; zeroes a gap beyond the old EOF.
 * Throttles after each piece (a MiB, or what a small cache allows) but the last: callers do that
 * (balance_dirty_pages) when they hold no lock.
 */
int64_t iomap_file_buffered_write(struct address_space *m, uint64_t pos,
				  const struct iomap_src *src, const struct iomap_ops *ops);
int iomap_file_unshare(struct address_space *m, uint64_t pos, uint64_t len,
		       const struct iomap_ops *ops);
int iomap_zero_range(struct address_space *m, uint64_t pos, uint64_t len, bool *did_zero,
		     const struct iomap_ops *ops);
int iomap_truncate_page(struct address_space *m, uint64_t pos, bool *did_zero,
			const struct iomap_ops *ops);
/*
 * A locked, uptodate folio is about to be changed in place: space is reserved
 * for its blocks inside EOF, they become dirty, and none shares its memory with
 * a write in flight or with static zeros.  0, -EFAULT (truncated, or wholly beyond
 * EOF), -EIO (a block is not uptodate), -errno of iomap_begin.
 */
int iomap_page_mkwrite(struct folio *f, const struct iomap_ops *ops);

/* ---- writeback (B13 to B18) ---- */
#define IOMAP_IOEND_MAX_BIOS 64
#define IOMAP_IOEND_MAX_BYTES (16u << 20)

struct iomap_dio;
struct iomap_ioend;
struct iomap_writepage_ctx;
struct iomap_writeback_ops {
	/*
	 * Where dirty bytes at @offset go: set wpc->iomap (new, not yet
	 * mapped space; at most @len bytes are dirty in a row).  IOMAP_HOLE: skip.
	 */
	int (*map_blocks)(struct iomap_writepage_ctx *wpc, struct address_space *m, uint64_t offset,
			  uint64_t len);
	/* May be NULL.  Before submission; an error fails the ioend by the normal path.  Returns
	 * the error to use. */
	int (*prepare_ioend)(struct iomap_ioend *ioend, int status);
	/*
	 * A batch of finished ioends, any mappings, sorted and merged; runs in a
	 * completion worker that may sleep.  Must call iomap_finish_ioends() on every
	 * one, with the final error.
	 */
	void (*end_ioends)(void *host_fs, struct list_head *ioends);
	/* May be NULL.  Private data of @next joins @ioend's. */
	void (*merge_private)(struct iomap_ioend *ioend, struct iomap_ioend *next);
	/* May be NULL.  [pos, pos+len) could not be mapped.  The folio is locked. */
	void (*discard_folio)(struct folio *f, uint64_t pos, uint64_t len);
	/*
	 * May be NULL.  @nblocks blocks of @ioend, whose writeback failed, are dirty again: the
	 * space reserved for them is needed once more.  No lock held.
	 */
	void (*redirty)(struct iomap_ioend *ioend, uint64_t nblocks);
	/* What of a failed block (docs/DESIGN.md, rule 5)?  true: stays dirty, is retried later;
	 * false: is dropped. */
	bool keep_dirty_on_error;
	void *host_fs;
};

struct iomap_ioend {
	struct list_head io_list;
	struct address_space *io_mapping;
	uint64_t io_offset, io_size; /* file bytes; its own whole blocks, not those of io_merged */
	uint64_t io_addr;	     /* device bytes of io_offset; IOMAP_NULL_ADDR for INLINE */
	enum iomap_type io_type;
	unsigned int io_flags;
	int io_error;
	struct list_head io_merged; /* ioends merged into this one, in offset order */
	struct bio *io_bio;	    /* last bio; the chain starts with io_first_bio */
	struct bio *io_first_bio;
	unsigned int io_nr_bios;
	void *io_private;	  /* the file system's, from end_ioends() on */
	struct iomap_dio *io_dio; /* a direct write's: its data was never in the cache, all of it
				     lies inside the new EOF */
	/* iomap's own */
	struct iomap_writeback_ops io_ops; /* as given to iomap_writepages() */
	atomic_int io_status;		   /* first error of a bio */
	atomic_uint io_remaining;	   /* bios in flight */
	unsigned int
		io_nr_had; /* bios there are: behind the io_nr_bios first they wait for content */
	struct bio *io_bios[IOMAP_IOEND_MAX_BIOS];
};

struct iomap_writepage_ctx {
	struct iomap
		iomap; /* mapping in use; kept between folios while it still covers what comes */
	struct iomap_ioend *ioend;
	const struct iomap_writeback_ops *ops;
	struct bio_set *bs;
	unsigned int app; /* application tag for the tuples */
	bool direct; /* map_blocks: whole blocks of a direct write; i_size does not speak of them
			yet */
	void *private;
};

/*
 * Write the dirty blocks of the range.  Without wbc->sync, folios under writeback are left for
 * later.  0, or the first error of map_blocks (-ENOMEM too); those of the device come with the
 * ioends.
 */
int iomap_writepages(struct address_space *m, struct writeback_control *wbc,
		     struct iomap_writepage_ctx *wpc, const struct iomap_writeback_ops *ops);
/* End the writeback of @ioend and of all merged into it: bits, wakeups, errors, memory. */
void iomap_finish_ioends(struct iomap_ioend *ioend, int error);
void iomap_sort_ioends(struct list_head *ioends); /* by mapping, then offset */
void iomap_ioend_try_merge(struct iomap_ioend *ioend, struct list_head *more,
			   void (*merge_private)(struct iomap_ioend *ioend,
						 struct iomap_ioend *next));
/* Walk the bios of one (unmerged) ioend in file order. */
struct bio *iomap_ioend_first_bio(struct iomap_ioend *ioend);
struct bio *iomap_ioend_next_bio(struct iomap_ioend *ioend, struct bio *bio);
/* Wait until no ioend is in flight anywhere (unmount). */
void iomap_ioend_drain(void);
int iomap_ioend_init(void); /* pools and completion worker; 0 or -errno */
void iomap_ioend_exit(void);

/* ---- direct I/O (direct.c, direct_write.c) ---- */
/*
 * Read [pos, pos + len) past the cache, straight into @buf and verified there; what is dirty in the
 * cache is written first.  Blocks that the range covers only in part, and all blocks if @buf and
 * @pos do not lie alike within a block (or page, if that is smaller), take a detour over memory of
 * our own.
 *
 * Bytes read, up to EOF; a bad block in the middle ends the result before it.  -EIO, -ENOMEM,
 * -errno of writing back or of iomap_begin if it is not one.  Memory behind what was read may have
 * been written to.  Inode lock held shared.
 */
int64_t iomap_dio_read(struct address_space *m, uint64_t pos, void *buf, size_t len,
		       const struct iomap_ops *ops);
/*
 * Write past the cache: whole blocks become ioends like those of writeback, with @wpc's bio set and
 * operations, and have been through end_ioends() on return.  Blocks covered in part, and all if the
 * memory is not aligned, are written through the cache and then written back.  The cache holds
 * nothing of the whole blocks afterwards.
 *
 * The memory must not change until this returns.  Bytes written, in a row from @pos on, or -errno
 * if not one; an error is the caller's alone and is not remembered on the mapping.  Moves i_size
 * when the data is there; after an error blocks behind what is reported may have been written too,
 * even behind i_size.  Inode lock held exclusive.
 */
int64_t iomap_dio_write(struct address_space *m, uint64_t pos, const struct iomap_src *src,
			const struct iomap_ops *ops, struct iomap_writepage_ctx *wpc,
			const struct iomap_writeback_ops *wb_ops);

/* ---- seek (cache and mapping together) ---- */
int64_t iomap_seek_hole(struct address_space *m, uint64_t pos, const struct iomap_ops *ops);
int64_t iomap_seek_data(struct address_space *m, uint64_t pos,
			const struct iomap_ops *ops); /* -ENXIO */

#endif
