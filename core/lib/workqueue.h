/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Work queues: a named set of threads that run work items in the order queued. */
#ifndef CORE_WORKQUEUE_H
#define CORE_WORKQUEUE_H

#include "core/lib/list.h"

struct workqueue;
struct work {
	struct list_head list;
	void (*fn)(struct work *w);
};

static inline void work_init(struct work *w, void (*fn)(struct work *w))
{
	INIT_LIST_HEAD(&w->list);
	w->fn = fn;
}

/* @threads >= 1.  NULL if a thread or memory could not be had. */
struct workqueue *workqueue_create(const char *name, unsigned int threads);
/* Runs what is queued, then stops the threads. */
void workqueue_destroy(struct workqueue *wq);
/* @w must not be queued already; it may free itself or be queued again from its own fn. */
void queue_work(struct workqueue *wq, struct work *w);
/* Returns when everything queued before the call has finished running. */
void flush_workqueue(struct workqueue *wq);
/* True if the calling thread is a worker of @wq (completion code then runs inline instead of
 * queueing). */
bool workqueue_is_worker(const struct workqueue *wq);

#endif
