/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The thread that removes what is dead, and how it is woken. */
#include <errno.h>
#include "core/lib/list.h"
#include "core/lib/util.h"
#include "core/lib/workqueue.h"
#include "fs/inode/icache.h"
#include "fs/inode/reap.h"
#include "fs/inode/reaper.h"
#include "fs/state/fs.h"

static void reap_work(struct work *w)
{
	struct tfs_icache *ic = container_of(w, struct tfs_icache, reap_work);

	pthread_mutex_lock(&ic->lock);
	ic->reap_queued = false;
	pthread_mutex_unlock(&ic->lock);
	reap_run(ic->fs);
}

int reaper_start(struct tfs_fs *fs)
{
	struct tfs_icache *ic = fs->icache;

	work_init(&ic->reap_work, reap_work);
	ic->reaper = workqueue_create("reap", 1);
	return ic->reaper ? 0 : -ENOMEM;
}

void reaper_stop(struct tfs_fs *fs)
{
	struct tfs_icache *ic = fs->icache;
	struct workqueue *wq;

	/* a completion worker may be about to hand something over */
	pthread_mutex_lock(&ic->lock);
	wq = ic->reaper;
	ic->reaper = NULL;
	pthread_mutex_unlock(&ic->lock);
	if (wq)
		workqueue_destroy(wq);
}

/* Hand what is dead to the reaper.  False: there is none. */
static bool wake_reaper(struct tfs_icache *ic)
{
	bool there;

	pthread_mutex_lock(&ic->lock);
	there = ic->reaper;
	if (there && !list_empty(&ic->reap) && !ic->reap_queued) {
		ic->reap_queued = true;
		queue_work(ic->reaper, &ic->reap_work);
	}
	pthread_mutex_unlock(&ic->lock);
	return there;
}

void reap_kick_async(struct tfs_fs *fs)
{
	wake_reaper(fs->icache);
}

void reap_kick(struct tfs_fs *fs)
{
	if (!wake_reaper(fs->icache))
		reap_run(fs);
}
