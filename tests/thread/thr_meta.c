/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writers, readers, fsyncs and the journal thread at once, in a cache too small for them. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs/journal/journal_priv.h"
#include "tests/lib/fixture_bare.h"
#include "fs/disk/geom.h"
#include "fs/journal/buffer.h"
#include "fs/journal/bufcache.h"
#include "fs/journal/buffer_load.h"
#include "fs/journal/journal.h"
#include "fs/journal/trans.h"
#include "fs/vfs/fs_open.h"

#define KEYS 120
#define ROUNDS 3000
#define THREADS 4
#define VALUE(i) ((uint8_t)(1 + (i) % 255))

#define CHECK(x)                                                                \
	do {                                                                    \
		if (!(x)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			abort();                                                \
		}                                                               \
	} while (0)

static struct fixture m;
static atomic_int running = THREADS;

/* Each has keys of its own; what a commit has confirmed must be there in the end. */
static void *writer(void *arg)
{
	uint64_t me = (uint64_t)(uintptr_t)arg, i;

	for (i = 1; i <= ROUNDS; i++) {
		CHECK(fx_item_set(&m, (me + i * THREADS) % KEYS * THREADS + me, VALUE(i), 400) ==
		      0);
		if (i % 10 == 0)
			CHECK(journal_commit(m.fs, journal_running_txid(m.fs)) == 0);
		if (i % 50 == 0 && me == 0)
			CHECK(journal_checkpoint(m.fs) == 0);
		if (i % 7 == 0)
			CHECK(fx_item_delete(&m, (me + i * THREADS) % KEYS * THREADS + me) == 0);
	}
	atomic_fetch_sub(&running, 1);
	return NULL;
}

static void *reader(void *arg)
{
	uint64_t i = 0, root;
	struct tfs_journal_stats js;
	struct tfs_bufcache_stats bs;
	int v;

	while (atomic_load(&running)) {
		v = fx_item_get(&m, i++ * 13 % (KEYS * THREADS));
		CHECK(v > 0 || v == -ENOENT);
		if (i % 64)
			continue;
		journal_get_stats(m.fs, &js);
		bufcache_get_stats(m.fs, &bs);
		journal_kick(m.fs);
		root = tfs_group_tuple_block(&m.fs->geom, i % 8, 0);
		buf_readahead(m.fs, &root, 1, BUF_TUPLE);
	}
	return NULL;
}

int main(void)
{
	pthread_t t[THREADS + 2];
	uint64_t i;
	int v;

	fx_bare_create(&m);
	fx_bare_close(&m);
	m.opts.no_threads = false;
	m.opts.commit_interval = 1;
	CHECK(fx_bare_open(&m) == 0);
	m.fs->bufs->limit = 128 << 10;
	CHECK(tfs_start(m.fs) == 0);
	for (i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, writer, (void *)(uintptr_t)i) == 0);
	for (; i < THREADS + 2; i++)
		CHECK(pthread_create(&t[i], NULL, reader, NULL) == 0);
	for (i = 0; i < THREADS + 2; i++)
		pthread_join(t[i], NULL);
	/* the thread makes the log empty by itself when nothing happens */
	for (i = 0; i < 600 && atomic_load(&m.fs->journal->used); i++)
		usleep(100000);
	CHECK(!atomic_load(&m.fs->journal->used));
	fx_bare_crash(&m);
	CHECK(fx_bare_open(&m) == 0);
	for (i = 0; i < KEYS * THREADS; i++) {
		v = fx_item_get(&m, i);
		CHECK(v > 0 || v == -ENOENT);
	}
	CHECK(fx_item_get(&m, (0 + ROUNDS * THREADS) % KEYS * THREADS) == VALUE(ROUNDS));
	fx_bare_destroy(&m);
	return 0;
}
