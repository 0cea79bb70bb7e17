/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Many threads on work queues, segment pools, log limits and histograms at once. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "core/lib/hist.h"
#include "core/lib/log.h"
#include "core/block/seg.h"
#include "core/lib/workqueue.h"

#define THREADS 4
#define ROUNDS 3000

#define CHECK(cond)                                                                \
	do {                                                                       \
		if (!(cond)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
			exit(1);                                                   \
		}                                                                  \
	} while (0)

struct item {
	struct work w;
	struct seg *s;
};

static struct workqueue *wq;
static struct seg_pool *pool;
static atomic_uint done;
static struct ratelimit rl = RATELIMIT_INIT;
static atomic_uint shown;
static struct hist hist;

static void item_fn(struct work *w)
{
	struct item *it = container_of(w, struct item, w);
	unsigned char *p = it->s->base;

	CHECK(p[0] == p[it->s->size - 1]);
	seg_put(it->s);
	tl_free(it);
	atomic_fetch_add(&done, 1);
}

static void *producer(void *arg)
{
	unsigned int i, held, seed = (unsigned int)(uintptr_t)arg;

	for (i = 0; i < ROUNDS; i++) {
		struct item *it = tl_alloc(sizeof(*it));
		struct seg *s = seg_alloc(pool, 1024u << (i + seed) % 5);

		CHECK(it && s);
		memset(s->base, (int)i, s->size);
		it->s = seg_get(s);
		work_init(&it->w, item_fn);
		queue_work(wq, &it->w);
		if (i % 512 == 511)
			flush_workqueue(wq);
		seg_put(s);
		hist_record(&hist, i * 1000ull);
		if (ratelimit_ok(&rl, &held))
			atomic_fetch_add(&shown, 1);
	}
	return NULL;
}

int main(void)
{
	pthread_t t[THREADS];
	uintptr_t i;

	wq = workqueue_create("thr", 3);
	pool = seg_pool_create();
	CHECK(wq && pool);
	for (i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&t[i], NULL, producer, (void *)i));
	for (i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	flush_workqueue(wq);
	CHECK(atomic_load(&done) == THREADS * ROUNDS);
	CHECK(seg_pool_bytes(pool) == 0);
	CHECK(atomic_load(&shown) >= 10);
	CHECK(hist_total(&hist) == THREADS * ROUNDS);
	CHECK(hist_percentile(&hist, 100) == ROUNDS - 1);
	workqueue_destroy(wq);
	seg_pool_destroy(pool);
	return 0;
}
