/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lock of a file's content.
 *
 * A cached read must not wait for the device, neither by way of a reader that does nor by way of a
 * writer that waits for such a reader.  And a stream of readers must not keep a writer out for
 * ever.  So:
 *
 *  - who waits for the device while it holds the lock shared says so (@io), and is counted;
 *  - a writer waits at the head of a queue (`turn`), where those who come later stand behind it;
 *  - but a reader of what is cached passes the queue while one with I/O holds the lock: the
 *    writer could not have it anyway.  When that one has gone, passing ends, and the writer's
 *    turn comes as soon as those inside have left, which takes them no I/O.
 *
 * The rwlock below prefers readers; the order is made here.
 */
#include "fs/inode/inode.h"
#include "fs/inode/inode_lock.h"

void inode_lock(struct tfs_inode *i)
{
	atomic_fetch_add(&i->writers, 1);
	pthread_mutex_lock(&i->turn);
	pthread_rwlock_wrlock(&i->lock);
	pthread_mutex_unlock(&i->turn);
	atomic_fetch_sub(&i->writers, 1);
}

void inode_unlock(struct tfs_inode *i)
{
	pthread_rwlock_unlock(&i->lock);
}

void inode_lock_shared(struct tfs_inode *i, bool io)
{
	bool queue = io || (atomic_load(&i->writers) && !atomic_load(&i->io_readers));

	if (queue)
		pthread_mutex_lock(&i->turn);
	if (io)
		atomic_fetch_add(&i->io_readers, 1);
	pthread_rwlock_rdlock(&i->lock);
	if (queue)
		pthread_mutex_unlock(&i->turn);
}

void inode_unlock_shared(struct tfs_inode *i, bool io)
{
	if (io)
		atomic_fetch_sub(&i->io_readers, 1);
	pthread_rwlock_unlock(&i->lock);
}
