/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Append-only files and a cache in front of us.
 *
 * The kernel gathers writes and lets the file be mapped; what comes from its cache is whole pages,
 * in any order, and does not say what of them is new.  So each byte is looked at:
 *
 *   [ a a a a a a a|- - - -|a a a a a]            a: has come already: stays as it is
 *                   gap              ^ size       gap: what follows came first
 *       [ = = = = =|n n n n]                      the request: the same where something is,
 *                                                 new where nothing is
 *
 * What would change something is left out, the rest is written all the same (another one appends to
 * the same page), and the answer is -EPERM.  Gaps are known as long as the inode is in memory, and
 * so is whoever wrote.
 */
#include <errno.h>
#include <string.h>
#include "core/block/seg.h"
#include "core/iomap/iomap.h"
#include "core/lib/list.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/inode/append.h"
#include "fs/inode/inode.h"
#include "fs/inode/iomap_ops.h"

#define GAPS_MAX 1024	       /* more than the kernel has requests under way at once */
#define COMPARE_MAX (64 << 10) /* bytes looked at in one go */

int append_gap(struct tfs_inode *i, uint64_t from, uint64_t to)
{
	struct tfs_gap *g;

	if (from >= to)
		return 0;
	if (i->nr_gaps == GAPS_MAX)
		return -EPERM;
	g = tl_alloc(sizeof(*g));
	if (!g)
		return -ENOMEM;
	*g = (struct tfs_gap){ .from = from, .to = to };
	list_add_tail(&g->link, &i->gaps);
	i->nr_gaps++;
	return 0;
}

/* The gap at @at; NULL: none, and *next is where one begins, or @end. */
static struct tfs_gap *gap_at(struct tfs_inode *i, uint64_t at, uint64_t end, uint64_t *next)
{
	struct tfs_gap *g;

	*next = end;
	list_for_each_entry(g, &i->gaps, link) {
		if (g->from <= at && at < g->to)
			return g;
		if (g->from > at && g->from < *next)
			*next = g->from;
	}
	return NULL;
}

/* [from, to) of @g is filled. */
static void fill_gap(struct tfs_inode *i, struct tfs_gap *g, uint64_t from, uint64_t to)
{
	if (from > g->from && to < g->to && !append_gap(i, to, g->to))
		g->to = from;
	else if (from > g->from)
		g->to = from; /* no memory for the rest: nothing more comes there */
	else
		g->from = to;
	if (g->from == g->to) {
		list_del_init(&g->link);
		tl_free(g);
		i->nr_gaps--;
	}
}

/* 1: the same as there is; 0: not. */
static int same_bytes(struct tfs_inode *i, uint64_t pos, const char *buf, size_t len)
{
	struct iomap_read_result res = { 0 };
	size_t done = 0;
	int err = iomap_file_buffered_read(&i->mapping, pos, len, 0, &tfs_iomap_ops, &res),
	    same = 1;

	if (err)
		return err;
	for (unsigned int k = 0; k < res.nr_iov && same; k++) {
		same = !memcmp(res.iov[k].iov_base, buf + done, res.iov[k].iov_len);
		done += res.iov[k].iov_len;
	}
	iomap_read_result_release(&res);
	return same && done < len ? -EIO : same;
}

/* Bytes written, or -errno. */
static int64_t write_new(struct tfs_inode *i, uint64_t pos, const struct iomap_src *src,
			 struct tfs_gap *g)
{
	uint64_t size = i_size_read(&i->mapping);
	int64_t n;
	int err;

	if (g) {
		n = iomap_file_buffered_write(&i->mapping, pos, src, &tfs_iomap_ops);
		if (n > 0)
			fill_gap(i, g, pos, pos + (uint64_t)n);
		return n;
	}
	/* should the write fail: behind the end a gap says nothing */
	err = append_gap(i, size, pos);
	return err ? err : iomap_file_buffered_write(&i->mapping, pos, src, &tfs_iomap_ops);
}

int64_t append_write(struct tfs_inode *i, uint64_t pos, const struct iomap_src *src)
{
	uint64_t at = pos, end = pos + src->len, size, next;
	bool refused = false;
	int64_t n;

	while (at < end) {
		struct iomap_src s = { .buf = (const char *)src->buf + (at - pos),
				       .seg = src->seg };
		struct tfs_gap *g = NULL;

		size = i_size_read(&i->mapping);
		next = end;
		if (at < size)
			g = gap_at(i, at, end < size ? end : size, &next);
		if (g && g->to < next)
			next = g->to;
		s.len = (size_t)(next - at);
		if (at >= size || g) {
			n = write_new(i, at, &s, g);
		} else {
			s.len = min_t(size_t, s.len, COMPARE_MAX);
			n = same_bytes(i, at, s.buf, s.len);
			refused |= !n;
			n = n < 0 ? n : (int64_t)s.len;
		}
		if (n <= 0)
			return n ? n : -EIO;
		at += (uint64_t)n;
	}
	return refused ? -EPERM : (int64_t)src->len;
}
