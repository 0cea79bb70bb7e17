/* SPDX-License-Identifier: GPL-2.0-or-later */
/* core/lib/workqueue.c: work queues: order, flush, destroy. */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <unistd.h>

#include "core/lib/workqueue.h"

struct item {
	struct work w;
	struct workqueue *wq;
	unsigned int nr, again;
};

static atomic_uint runs;
static unsigned int order[64];

static void note_order(struct work *w)
{
	struct item *it = container_of(w, struct item, w);

	order[atomic_fetch_add(&runs, 1)] = it->nr;
}

static void run_again(struct work *w)
{
	struct item *it = container_of(w, struct item, w);

	atomic_fetch_add(&runs, 1);
	if (it->again-- > 0)
		queue_work(it->wq, w);
}

static void slow(struct work *w)
{
	usleep(20000);
	atomic_fetch_add(&runs, 1);
}

static void check_is_worker(struct work *w)
{
	struct item *it = container_of(w, struct item, w);

	it->nr = workqueue_is_worker(it->wq);
}

Test(workqueue, one_thread_keeps_order)
{
	struct workqueue *wq = workqueue_create("test", 1);
	struct item it[64];
	unsigned int i;

	cr_assert(wq);
	for (i = 0; i < 64; i++) {
		it[i].nr = i;
		work_init(&it[i].w, note_order);
		queue_work(wq, &it[i].w);
	}
	flush_workqueue(wq);
	cr_assert_eq(atomic_load(&runs), 64);
	for (i = 0; i < 64; i++)
		cr_assert_eq(order[i], i);
	workqueue_destroy(wq);
}

Test(workqueue, flush_waits_for_running_items)
{
	struct workqueue *wq = workqueue_create("test", 4);
	struct item it[4];
	unsigned int i;

	for (i = 0; i < 4; i++) {
		work_init(&it[i].w, slow);
		queue_work(wq, &it[i].w);
	}
	flush_workqueue(wq);
	cr_assert_eq(atomic_load(&runs), 4);
	flush_workqueue(wq); /* nothing to wait for */
	workqueue_destroy(wq);
}

Test(workqueue, destroy_runs_what_is_queued)
{
	struct workqueue *wq = workqueue_create("test", 2);
	struct item it[8];
	unsigned int i;

	for (i = 0; i < 8; i++) {
		it[i] = (struct item){ .wq = wq, .again = 10 };
		work_init(&it[i].w, run_again);
		queue_work(wq, &it[i].w);
	}
	workqueue_destroy(wq);
	cr_assert_eq(atomic_load(&runs), 8 * 11);
}

Test(workqueue, knows_its_workers)
{
	struct workqueue *wq = workqueue_create("test", 1);
	struct item it = { .wq = wq };

	work_init(&it.w, check_is_worker);
	queue_work(wq, &it.w);
	flush_workqueue(wq);
	cr_assert_eq(it.nr, 1);
	cr_assert_not(workqueue_is_worker(wq));
	workqueue_destroy(wq);
}

Test(workqueue, no_memory)
{
	tl_alloc_fail_nth(1);
	cr_assert_null(workqueue_create("test", 1));
	tl_alloc_fail_nth(0);
	workqueue_destroy(NULL);
}
