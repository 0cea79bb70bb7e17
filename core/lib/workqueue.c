/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Work queues.
 *
 * Items leave the queue in the order they entered, so the n-th item taken is
 * the n-th one queued: that makes "everything queued before the call" a number
 * to compare with, and items need no stamp of their own.
 */
#include "core/lib/workqueue.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

struct worker {
	struct workqueue *wq;
	pthread_t thread;
	uint64_t running; /* number of the item in its fn, 0 when idle */
};

struct workqueue {
	pthread_mutex_t lock; /* all below */
	pthread_cond_t more;  /* something queued, or stop */
	pthread_cond_t done;  /* an item finished, while there are flushers */
	struct list_head queue;
	uint64_t queued, taken; /* items ever */
	unsigned int idle, flushers;
	bool stop;
	char name[16]; /* the kernel takes 15 characters */
	unsigned int nr_workers;
	struct worker workers[];
};

/* Whose worker this thread is: nobody waits for the queue that runs him. */
static __thread const struct workqueue *current_wq;

static void *worker_main(void *arg)
{
	struct worker *me = arg;
	struct workqueue *wq = me->wq;

	current_wq = wq;
	pthread_setname_np(pthread_self(), wq->name);
	pthread_mutex_lock(&wq->lock);
	for (;;) {
		struct work *w;

		while (list_empty(&wq->queue) && !wq->stop) {
			wq->idle++;
			pthread_cond_wait(&wq->more, &wq->lock);
			wq->idle--;
		}
		if (list_empty(&wq->queue))
			break;
		w = list_first_entry(&wq->queue, struct work, list);
		list_del_init(&w->list);
		me->running = ++wq->taken;
		pthread_mutex_unlock(&wq->lock);
		w->fn(w); /* may free w */
		pthread_mutex_lock(&wq->lock);
		me->running = 0;
		if (wq->flushers)
			pthread_cond_broadcast(&wq->done);
	}
	pthread_mutex_unlock(&wq->lock);
	return NULL;
}

static void stop_workers(struct workqueue *wq)
{
	unsigned int i;

	pthread_mutex_lock(&wq->lock);
	wq->stop = true;
	pthread_cond_broadcast(&wq->more);
	pthread_mutex_unlock(&wq->lock);
	for (i = 0; i < wq->nr_workers; i++)
		pthread_join(wq->workers[i].thread, NULL);
	pthread_cond_destroy(&wq->done);
	pthread_cond_destroy(&wq->more);
	pthread_mutex_destroy(&wq->lock);
	tl_free(wq);
}

struct workqueue *workqueue_create(const char *name, unsigned int threads)
{
	struct workqueue *wq = tl_zalloc(sizeof(*wq) + threads * sizeof(wq->workers[0]));
	sigset_t all, old;
	int err = 0;

	if (!wq)
		return NULL;
	snprintf(wq->name, sizeof(wq->name), "%s", name);
	pthread_mutex_init(&wq->lock, NULL);
	pthread_cond_init(&wq->more, NULL);
	pthread_cond_init(&wq->done, NULL);
	INIT_LIST_HEAD(&wq->queue);
	/* Signals are the main thread's business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (!err && wq->nr_workers < threads) {
		struct worker *me = &wq->workers[wq->nr_workers];

		me->wq = wq;
		err = pthread_create(&me->thread, NULL, worker_main, me);
		if (!err)
			wq->nr_workers++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err) {
		stop_workers(wq);
		return NULL;
	}
	return wq;
}

void workqueue_destroy(struct workqueue *wq)
{
	if (!wq)
		return;
	assert(!workqueue_is_worker(wq));
	stop_workers(wq);
}

void queue_work(struct workqueue *wq, struct work *w)
{
	pthread_mutex_lock(&wq->lock);
	assert(list_empty(&w->list));
	list_add_tail(&w->list, &wq->queue);
	wq->queued++;
	if (wq->idle)
		pthread_cond_signal(&wq->more);
	pthread_mutex_unlock(&wq->lock);
}

static bool finished_up_to(const struct workqueue *wq, uint64_t target)
{
	unsigned int i;

	if (wq->taken < target)
		return false;
	for (i = 0; i < wq->nr_workers; i++)
		if (wq->workers[i].running && wq->workers[i].running <= target)
			return false;
	return true;
}

void flush_workqueue(struct workqueue *wq)
{
	uint64_t target;

	assert(!workqueue_is_worker(wq)); /* it would wait for itself */
	pthread_mutex_lock(&wq->lock);
	target = wq->queued;
	wq->flushers++;
	while (!finished_up_to(wq, target))
		pthread_cond_wait(&wq->done, &wq->lock);
	wq->flushers--;
	pthread_mutex_unlock(&wq->lock);
}

bool workqueue_is_worker(const struct workqueue *wq)
{
	return current_wq == wq;
}
