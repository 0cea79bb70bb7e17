/* SPDX-License-Identifier: GPL-2.0-or-later */
/* FITRIM, in bytes as it comes from the front end. */
#include <errno.h>
#include "core/block/bdev.h"
#include "core/lib/util.h"
#include "fs/alloc/alloc_trim.h"
#include "fs/disk/geom.h"
#include "fs/journal/journal.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"

int vfs_trim(struct tfs_fs *fs, uint64_t start, uint64_t len, uint64_t minlen,
	     bool (*stop)(void *arg), void *arg, uint64_t *trimmed)
{
	const struct tfs_geom *g = &fs->geom;
	uint64_t size = tfs_block_to_byte(fs, g->total_blocks), end, blocks = 0;
	int err = tfs_writable(fs);

	*trimmed = 0;
	if (err)
		return err;
	if (start >= size || len < g->block_size ||
	    minlen > (uint64_t)g->blocks_per_group << g->blkbits)
		return -EINVAL;
	if (!fs->bdev->ops->discard)
		return -EOPNOTSUPP;
	end = len < size - start ? start + len : size;
	err = journal_commit_all(fs); /* what was freed so far counts too */
	if (!err)
		err = alloc_trim(fs, div_up(start, g->block_size), end >> g->blkbits,
				 div_up(minlen, g->block_size), stop, arg, &blocks);
	*trimmed = blocks << g->blkbits;
	return err;
}
