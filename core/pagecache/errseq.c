/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors of writeback, seen once by each open file (the idea is Linux's
 * errseq).  The value is a counter with, in its low bits, the last errno and
 * whether anybody has seen it.  A file that samples an error nobody has seen yet
 * gets 0, "before everything", and so will be told of it.
 */
#include "core/pagecache/pagecache_internal.h"

#define ERRSEQ_ERRNO 0xfffULL
#define ERRSEQ_SEEN 0x1000ULL
#define ERRSEQ_ONE 0x2000ULL

void mapping_set_error(struct address_space *m, int err)
{
	unsigned long long old = atomic_load(&m->wb_err), new;

	if (!err)
		return;
	do {
		new = ((old & ~(ERRSEQ_ERRNO | ERRSEQ_SEEN)) + ERRSEQ_ONE) |
		      ((unsigned int)-err & ERRSEQ_ERRNO);
	} while (!atomic_compare_exchange_weak(&m->wb_err, &old, new));
}

uint64_t mapping_sample_error(struct address_space *m)
{
	uint64_t v = atomic_load(&m->wb_err);

	return v & ERRSEQ_SEEN ? v : 0;
}

int mapping_check_and_advance_error(struct address_space *m, uint64_t *since)
{
	unsigned long long old = atomic_load(&m->wb_err), new;

	do {
		if (old == *since)
			return 0;
		new = old | ERRSEQ_SEEN;
	} while (!atomic_compare_exchange_weak(&m->wb_err, &old, new));
	*since = new;
	return -(int)(ERRSEQ_ERRNO & new);
}

uint64_t mapping_error_mark(struct address_space *m)
{
	return atomic_load(&m->wb_err) & ~ERRSEQ_SEEN;
}

int mapping_error_after(struct address_space *m, uint64_t mark)
{
	uint64_t now = mapping_error_mark(m);

	return now == mark ? 0 : -(int)(now & ERRSEQ_ERRNO);
}
