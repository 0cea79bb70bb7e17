/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Walking a file range one mapping at a time (docs/IO.md, row B1). */
#include <errno.h>
#include <string.h>
#include "core/iomap/internal.h"
#include "core/lib/trace.h"

uint64_t iomap_length(const struct iomap_iter *it)
{
	uint64_t end = it->iomap.offset + it->iomap.length;

	if (it->srcmap.type != IOMAP_HOLE)
		end = min_t(uint64_t, end, it->srcmap.offset + it->srcmap.length);
	return min_t(uint64_t, it->len, end - it->pos);
}

/* Close the step just done.  1: go on; 0: finished; -errno. */
static int iter_end_step(struct iomap_iter *it, const struct iomap_ops *ops)
{
	uint64_t done = it->processed > 0 ? (uint64_t)it->processed : 0;
	bool stale = it->iomap.flags & IOMAP_F_STALE;
	int err = 0;

	assert(done <= it->len);
	if (ops->iomap_end)
		err = ops->iomap_end(it->mapping, it->pos, iomap_length(it), done, it->dirtied,
				     it->flags, &it->iomap);
	memset(&it->iomap, 0, sizeof(it->iomap));
	memset(&it->srcmap, 0, sizeof(it->srcmap));
	it->pos += done;
	it->len -= done;
	if (it->processed < 0)
		return (int)it->processed;
	if (err < 0 && !done)
		return err;
	/* a body that got nowhere ends the walk, unless it was the mapping's fault */
	return it->len && (done || stale);
}

static bool map_covers(const struct iomap *map, uint64_t pos)
{
	return map->length && map->offset <= pos && pos - map->offset < map->length;
}

int iomap_iter(struct iomap_iter *it, const struct iomap_ops *ops)
{
	int ret = it->len != 0;

	if (it->iomap.length)
		ret = iter_end_step(it, ops);
	if (ret <= 0)
		return ret;
	it->processed = 0;
	it->dirtied = 0;
	it->iomap.addr = IOMAP_NULL_ADDR;
	trace4(iomap_iter, it->mapping->ino, it->pos, it->len, it->flags);
	ret = ops->iomap_begin(it->mapping, it->pos, it->len, it->flags, &it->iomap, &it->srcmap);
	if (!ret && (!map_covers(&it->iomap, it->pos) ||
		     (it->srcmap.type != IOMAP_HOLE && !map_covers(&it->srcmap, it->pos))))
		ret = -EIO;
	if (ret < 0) {
		memset(&it->iomap, 0, sizeof(it->iomap));
		memset(&it->srcmap, 0, sizeof(it->srcmap));
		return ret;
	}
	return 1;
}
