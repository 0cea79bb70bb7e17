/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * io_uring.
 *
 * Submitters share the submission queue under a lock and enter the kernel
 * with each bio; the reaper is the only one to look at the completion queue.
 * Requests in the kernel are limited to what that queue holds, with those that do nothing, so it
 * never overflows; the others wait in a list, and the reaper sends them on.  What the kernel does
 * not take, threads do.
 */
#include "core/block/bdev_uring.h"

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "core/block/blk_priv.h"
#include "core/lib/clock.h"
#include "core/lib/log.h"

#define RING_ENTRIES 128
#define IN_KERNEL_MAX RING_ENTRIES
/* So often the kernel may refuse an entry, a millisecond apart. */
#define SUBMIT_TRIES 3
/* So long it is not asked again, once it has. */
#define REFUSED_NS 100000000ull
/* What the reaper verifies itself: waking a worker would take longer. */
#define INLINE_VERIFY_BYTES (64u << 10)

struct uring_req {
	struct list_head list;
	struct bio *bio;
	uint64_t off;
	uint32_t left; /* bytes */
	unsigned int nr_iov, cur;
	struct iovec iov[];
};

/* Marks the entries that do nothing, since the kernel did not take them at once. */
static struct uring_req taken_back;

struct bdev_uring {
	struct io_uring ring;
	int fd;
	pthread_t reaper;
	pthread_mutex_t lock; /* submission queue and what follows */
	struct list_head waiting;
	unsigned int in_kernel;
	uint64_t refused_until; /* ns: till then nothing is offered to the kernel */
};

/* With the lock held.  0, or -errno: the kernel has not taken all, and the last entry is among what
 * it has not. */
static int enter_kernel(struct bdev_uring *u)
{
	unsigned int tries = 0;
	int ret = 0;

	while (io_uring_sq_ready(&u->ring)) {
		ret = io_uring_submit(&u->ring);
		if (ret > 0 || ret == -EINTR)
			continue;
		/* for want of memory, or of room for completions: there may be some in a moment */
		if ((ret && ret != -EAGAIN && ret != -EBUSY) || ++tries == SUBMIT_TRIES)
			return ret ? ret : -EAGAIN;
		usleep(1000);
	}
	return 0;
}

/* A free entry; NULL: those that were taken back fill the queue, and the kernel takes none. */
static struct io_uring_sqe *get_entry(struct bdev_uring *u)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	return sqe || enter_kernel(u) ? sqe : io_uring_get_sqe(&u->ring);
}

static bool try_push(struct bdev_uring *u, struct uring_req *req)
{
	static struct ratelimit rl = RATELIMIT_INIT;
	struct io_uring_sqe *sqe = get_entry(u);
	unsigned int held;
	int err;

	if (!sqe)
		return false;
	if (req->bio->bi_op == BIO_OP_READ)
		io_uring_prep_readv(sqe, u->fd, req->iov + req->cur, req->nr_iov - req->cur,
				    req->off);
	else
		io_uring_prep_writev(sqe, u->fd, req->iov + req->cur, req->nr_iov - req->cur,
				     req->off);
	io_uring_sqe_set_data(sqe, req);
	err = enter_kernel(u);
	if (!err)
		return true;
	/* an entry cannot leave the queue, but it can be made to do nothing */
	io_uring_prep_nop(sqe);
	io_uring_sqe_set_data(sqe, &taken_back);
	if (ratelimit_ok(&rl, &held))
		log_warn("io_uring: %s; threads do what it refuses", strerror(-err));
	return false;
}

/* The pool's way, from its beginning. */
static void hand_to_threads(struct uring_req *req)
{
	struct bio *bio = req->bio;

	tl_free(req);
	blk_queue_sync_io(bio);
}

/* With the lock held.  What the kernel refuses, threads do, and for a moment what follows, too: it
 * is not to wait in line to be refused. */
static void push(struct bdev_uring *u, struct uring_req *req)
{
	if (now_ns() >= u->refused_until) {
		if (try_push(u, req)) {
			u->in_kernel++;
			return;
		}
		u->refused_until = now_ns() + REFUSED_NS;
	}
	hand_to_threads(req);
}

static struct uring_req *make_req(struct bio *bio)
{
	unsigned int nr = 0;
	struct uring_req *req;
	struct bvec_iter it;
	struct bio_vec bv;

	bio_for_each_segment(bv, bio, it)
		nr++;
	req = tl_alloc(sizeof(*req) + nr * sizeof(req->iov[0]));
	if (!req)
		return NULL;
	req->bio = bio;
	req->off = bio->bi_iter.bi_sector << SECTOR_SHIFT;
	req->left = bio->bi_iter.bi_size;
	req->nr_iov = req->cur = 0;
	bio_for_each_segment(bv, bio, it)
		req->iov[req->nr_iov++] =
			(struct iovec){ .iov_base = bv.bv_base, .iov_len = bv.bv_len };
	return req;
}

void bdev_uring_submit(struct bdev_uring *u, struct bio *bio)
{
	struct uring_req *req = make_req(bio);

	if (!req) {
		/* The pool's way needs no memory. */
		blk_queue_sync_io(bio);
		return;
	}
	pthread_mutex_lock(&u->lock);
	if (u->in_kernel < IN_KERNEL_MAX)
		push(u, req);
	else
		list_add_tail(&req->list, &u->waiting);
	pthread_mutex_unlock(&u->lock);
}

/* Account for @res bytes done.  True if some are left and should be tried for. */
static bool progress(struct uring_req *req, int res, int *err)
{
	uint32_t done;

	*err = 0;
	if (res == -EINTR || res == -EAGAIN)
		return true;
	if (res <= 0) {
		*err = res ? res : -EIO; /* 0: the file ends here */
		return false;
	}
	done = min_t(uint32_t, (uint32_t)res, req->left);
	req->left -= done;
	req->off += done;
	while (done) {
		struct iovec *v = &req->iov[req->cur];
		uint32_t n = min_t(uint32_t, done, v->iov_len);

		v->iov_base = (char *)v->iov_base + n;
		v->iov_len -= n;
		if (!v->iov_len)
			req->cur++;
		done -= n;
	}
	return req->left;
}

static void finish_req(struct bdev_uring *u, struct uring_req *req, int res)
{
	struct bio *bio;
	bool again;
	int err = 0;

	pthread_mutex_lock(&u->lock);
	u->in_kernel--;
	/* cancelled: the thread that submitted it has ended */
	again = res == -ECANCELED || progress(req, res, &err);
	if (res == -ECANCELED)
		hand_to_threads(req);
	else if (again)
		push(u, req);
	while (u->in_kernel < IN_KERNEL_MAX && !list_empty(&u->waiting)) {
		struct uring_req *next = list_first_entry(&u->waiting, struct uring_req, list);

		list_del_init(&next->list);
		push(u, next);
	}
	pthread_mutex_unlock(&u->lock);
	if (again)
		return;
	bio = req->bio;
	tl_free(req);
	blk_io_done(bio, err);
}

static void *reaper_main(void *arg)
{
	struct bdev_uring *u = arg;
	struct io_uring_cqe *cqe;

	pthread_setname_np(pthread_self(), "tally-reaper");
	integrity_allow_inline(INLINE_VERIFY_BYTES);
	for (;;) {
		struct uring_req *req;
		int res, ret = io_uring_wait_cqe(&u->ring, &cqe);

		if (ret == -EINTR)
			continue;
		if (ret < 0) {
			log_err("io_uring: waiting for completions: %s", strerror(-ret));
			usleep(1000);
			continue;
		}
		req = io_uring_cqe_get_data(cqe);
		res = cqe->res;
		io_uring_cqe_seen(&u->ring, cqe);
		if (!req)
			return NULL; /* bdev_uring_destroy() */
		if (req == &taken_back)
			continue;
		finish_req(u, req, res);
	}
}

int bdev_uring_create(int fd, struct bdev_uring **out)
{
	struct bdev_uring *u = tl_zalloc(sizeof(*u));
	sigset_t all, old;
	int err;

	if (!u)
		return -ENOMEM;
	err = io_uring_queue_init(RING_ENTRIES, &u->ring, 0);
	if (err)
		goto out_free;
	u->fd = fd;
	pthread_mutex_init(&u->lock, NULL);
	INIT_LIST_HEAD(&u->waiting);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&u->reaper, NULL, reaper_main, u);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		goto out_ring;
	*out = u;
	return 0;

out_ring:
	pthread_mutex_destroy(&u->lock);
	io_uring_queue_exit(&u->ring);
out_free:
	tl_free(u);
	return err;
}

void bdev_uring_destroy(struct bdev_uring *u)
{
	struct io_uring_sqe *sqe;

	if (!u)
		return;
	assert(!u->in_kernel && list_empty(&u->waiting));
	pthread_mutex_lock(&u->lock);
	/* Nothing else ends the reaper, and what it uses must not go before it. */
	while (!(sqe = get_entry(u)))
		usleep(1000);
	io_uring_prep_nop(sqe);
	io_uring_sqe_set_data(sqe, NULL);
	while (enter_kernel(u))
		usleep(1000);
	pthread_mutex_unlock(&u->lock);
	pthread_join(u->reaper, NULL);
	pthread_mutex_destroy(&u->lock);
	io_uring_queue_exit(&u->ring);
	tl_free(u);
}
