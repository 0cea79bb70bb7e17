/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sections of code that look at or change metadata.
 *
 *	err = TRANS_WRITE(t, fs, CREDITS, change(t, ...));
 *	err = TRANS_READ(t, fs, look(t, ...));
 *
 * The body asks for blocks with buf_get(); one that is not cached makes it
 * return -TRANS_RESTART *before it has changed anything*; the section ends, the block is
 * read, and it starts over.  So the body first looks at everything it will need
 * (btree_prefault), checks everything that can fail, and only then changes.  Once
 * something was changed (t->modified), a missing block is read on the spot (correct,
 * but holds the lock: counted), and an error can't be undone: the file system then
 * goes read-only without committing (half_changed in trans.c).
 *
 * Sections do not nest.  Whose body is no expression writes the loop by hand:
 *
 *	struct tfs_trans t = { 0 };
 *
 *	do {
 *		err = trans_begin(&t, fs, CREDITS);	// or trans_read_begin(&t, fs)
 *		...
 *	} while (trans_again(&t, &err));
 *
 * Every section that was begun ends in trans_again(), also when it succeeded.
 */
#ifndef FS_TRANS_H
#define FS_TRANS_H

#include "fs/state/fs.h"

enum tfs_buf_kind { BUF_SUPER, BUF_GROUP, BUF_BITMAP, BUF_TUPLE, BUF_NODE };

/*
 * What a section returns to be started over: a block that it needs is not in memory.  No errno, so
 * that nobody else's -EAGAIN can be taken for it.
 */
#define TRANS_RESTART 4095

/* A handle; all zero before its first section.  What a loop has learnt is in it from one try to the
 * next. */
struct tfs_trans {
	struct tfs_fs *fs;
	bool active, write;
	bool modified; /* something in the running transaction was changed by this section */
	unsigned int tries;
	bool sync; /* read what is missing on the spot: starting over has not helped */
	/* block to read before the next try */
	bool missed;
	uint64_t miss_block;
	enum tfs_buf_kind miss_kind;
	uint64_t txid; /* of the running transaction (write) */
};

/* Takes meta_lock shared / exclusive. */
void trans_read_begin(struct tfs_trans *t, struct tfs_fs *fs);
/*
 * @credits: bytes of log this section may fill at most (TRANS_CREDITS for an
 * ordinary operation).  Waits for room in the journal and in the running transaction.
 * -EROFS, or the error that shut the file system down.
 */
int trans_begin(struct tfs_trans *t, struct tfs_fs *fs, uint64_t credits);
/*
 * The same for what only brings to the tree what was acknowledged before, or notes that it could
 * not be: goes on when the file system has become read-only because damage was found.
 */
int trans_begin_settle(struct tfs_trans *t, struct tfs_fs *fs, uint64_t credits);
bool trans_again(struct tfs_trans *t, int *err);

/* A handful of nodes changed wholly, with their tuple blocks, bitmaps and headers. */
#define TRANS_CREDITS(fs) \
	((uint64_t)16 * (fs)->geom.node_size + 16 * (fs)->geom.block_size + 8 * 4096)
/* The most one section may ask for. */
uint64_t trans_max_credits(struct tfs_fs *fs);

/* @expr, which uses the handle named @t, in a section of its own that starts over as often as it
 * takes: its value. */
#define TRANS_WRITE(t, fs, credits, expr)                           \
	({                                                          \
		struct tfs_trans section_ = { 0 }, *t = &section_;  \
		int section_err_;                                   \
		do {                                                \
			section_err_ = trans_begin(t, fs, credits); \
			if (!section_err_)                          \
				section_err_ = (expr);              \
		} while (trans_again(t, &section_err_));            \
		section_err_;                                       \
	})
#define TRANS_READ(t, fs, expr)                                    \
	({                                                         \
		struct tfs_trans section_ = { 0 }, *t = &section_; \
		int section_err_;                                  \
		do {                                               \
			trans_read_begin(t, fs);                   \
			section_err_ = (expr);                     \
		} while (trans_again(t, &section_err_));           \
		section_err_;                                      \
	})

#endif
