/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory pools. */
#include "core/lib/mempool.h"

#include <pthread.h>

struct mempool {
	size_t bytes;
	unsigned int nr;      /* elements the reserve has when it is full */
	pthread_mutex_t lock; /* what follows */
	pthread_cond_t freed;
	unsigned int in_reserve;
	void *reserve[];
};

struct mempool *mempool_create(unsigned int nr, size_t bytes)
{
	struct mempool *mp = tl_zalloc(sizeof(*mp) + nr * sizeof(mp->reserve[0]));

	if (!mp)
		return NULL;
	mp->bytes = bytes;
	mp->nr = nr;
	pthread_mutex_init(&mp->lock, NULL);
	pthread_cond_init(&mp->freed, NULL);
	while (mp->in_reserve < nr) {
		void *p = tl_alloc(bytes);

		if (!p) {
			mempool_destroy(mp);
			return NULL;
		}
		mp->reserve[mp->in_reserve++] = p;
	}
	return mp;
}

void mempool_destroy(struct mempool *mp)
{
	if (!mp)
		return;
	while (mp->in_reserve)
		tl_free(mp->reserve[--mp->in_reserve]);
	pthread_cond_destroy(&mp->freed);
	pthread_mutex_destroy(&mp->lock);
	tl_free(mp);
}

void *mempool_alloc(struct mempool *mp)
{
	void *p = tl_alloc(mp->bytes);

	if (likely(p))
		return p;
	pthread_mutex_lock(&mp->lock);
	while (!mp->in_reserve)
		pthread_cond_wait(&mp->freed, &mp->lock);
	p = mp->reserve[--mp->in_reserve];
	pthread_mutex_unlock(&mp->lock);
	return p;
}

void *mempool_try_alloc(struct mempool *mp)
{
	void *p = tl_alloc(mp->bytes);

	if (likely(p))
		return p;
	pthread_mutex_lock(&mp->lock);
	if (mp->in_reserve)
		p = mp->reserve[--mp->in_reserve];
	pthread_mutex_unlock(&mp->lock);
	return p;
}

void mempool_free(struct mempool *mp, void *p)
{
	/* Any element will do to refill the reserve: they are all of one size. */
	pthread_mutex_lock(&mp->lock);
	if (mp->in_reserve < mp->nr) {
		mp->reserve[mp->in_reserve++] = p;
		p = NULL;
		pthread_cond_signal(&mp->freed);
	}
	pthread_mutex_unlock(&mp->lock);
	tl_free(p);
}
