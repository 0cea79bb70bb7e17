/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Threads, receive buffers and replies under libfuse. */
#include "fs/fuse/transport.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "core/block/seg.h"
#include "core/lib/clock.h"
#include "core/lib/list.h"
#include "core/lib/log.h"
#include "core/lib/util.h"

/* In front of a WRITE's payload. */
#define WRITE_HEADERS (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))
_Static_assert(WRITE_HEADERS == 80, "kernel ABI");

/* Threads beyond the configured ones, for when all of these wait for something. */
#define EXTRA_THREADS 10
/* Of these, so many stay when there is nothing to do: starting threads again and again costs
 * more. */
#define EXTRA_IDLE 2
/* Wakes a thread out of read(2); the handler does nothing. */
#define KICK_SIGNAL SIGUSR2
#define KICK_AGAIN_NS 2000000u
/* While a thread spins it looks at the clock once in so many times. */
#define LOOKS_PER_CLOCK 8

struct worker {
	struct list_head link;
	struct transport *tr;
	pthread_t thread;
	/* From the start to the end: without it nobody would answer.  It is given away only for the
	 * spare one. */
	struct seg *seg, *spare;
	/*
	 * Requests are parsed here.  A WRITE leaves only its headers in it; others are made
	 * whole by copying what the kernel put into the segment behind them.
	 */
	char *buf;
	struct raw_request rq;
	bool answered;	     /* the request; its time has been taken */
	atomic_bool reading; /* sleeps in read(2), where a signal does no harm */
};

struct transport {
	struct transport_config cfg;
	int fd;
	atomic_bool stopping;
	atomic_int idle;     /* threads that wait for a request */
	atomic_bool spinner; /* somebody spins */
	pthread_mutex_t lock;
	pthread_cond_t ended; /* its time-outs are CLOCK_MONOTONIC's: the other may be set back */
	struct list_head workers; /* lock */
	unsigned int nr_workers;  /* lock */
	bool gone_told;		  /* lock */
	struct hist latency[TRANSPORT_OPCODES];
};

/* Who this thread is, if it is one of the pool. */
static __thread struct worker *self;

static void *worker_main(void *arg);

static void kick_handler(int sig)
{
}

const struct raw_request *transport_current(void)
{
	return self ? &self->rq : NULL;
}

/* ---- replies ---- */

void transport_answered(struct transport *tr, const struct request_time *t)
{
	uint32_t kind = t->opcode < TRANSPORT_OPCODES ? t->opcode : 0;

	hist_record(&tr->latency[kind], now_ns() - t->received);
}

const struct hist *transport_latency(const struct transport *tr, uint32_t opcode)
{
	return &tr->latency[opcode];
}

static void answered(struct worker *w)
{
	if (!w->answered)
		transport_answered(w->tr, &w->rq.time);
	w->answered = true;
}

static void amend_init(const struct worker *w, const struct fuse_out_header *out,
		       const struct iovec *answer)
{
	if (w->rq.time.opcode == FUSE_INIT && !out->error &&
	    answer->iov_len >= sizeof(struct fuse_init_out) && w->tr->cfg.init)
		w->tr->cfg.init(w->tr->cfg.userdata, w->rq.arg, answer->iov_base);
}

/* Answers to any request, and what is not an answer. */
static ssize_t session_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	const struct fuse_out_header *out = iov[0].iov_base;
	bool ours = self && !self->answered && out->unique == self->rq.hdr->unique;
	ssize_t n;

	if (ours && count == 2)
		amend_init(self, out, &iov[1]);
	n = writev(fd, iov, count);
	if (ours)
		answered(self);
	return n;
}

/* libfuse wants one; the threads here do their own reading. */
static ssize_t session_read(int fd, void *buf, size_t len, void *userdata)
{
	return read(fd, buf, len);
}

static int send_reply(int error, struct iovec *iov, int n)
{
	struct fuse_out_header out = { .error = -error, .unique = self->rq.hdr->unique };
	size_t len = sizeof(out);
	int i, err = 0;

	iov[0].iov_base = &out;
	iov[0].iov_len = sizeof(out);
	for (i = 1; i < n; i++)
		len += iov[i].iov_len;
	out.len = (uint32_t)len;
	if (writev(self->tr->fd, iov, n) < 0)
		err = -errno;
	answered(self);
	return err;
}

int transport_reply(int error, const void *data, size_t len)
{
	struct iovec iov[2] = { [1] = { .iov_base = (void *)data, .iov_len = len } };

	return send_reply(error, iov, len ? 2 : 1);
}

int transport_reply_iov(fuse_req_t req, struct iovec *iov, int n)
{
	int err = send_reply(0, iov, n);

	fuse_reply_none(req);
	return err;
}

int transport_reply_data(fuse_req_t req, const void *data, size_t len)
{
	struct iovec iov[2] = { [1] = { .iov_base = (void *)data, .iov_len = len } };

	return transport_reply_iov(req, iov, 2);
}

/* ---- requests ---- */

/*
 * A request often follows the answer to the one before within microseconds, and
 * waking a sleeping thread costs more than that.  One thread at a time looks
 * for a while without sleeping; the others leave the CPU alone.
 */
static void spin(struct transport *tr)
{
	struct pollfd pfd = { .fd = tr->fd, .events = POLLIN };
	unsigned int looks = 0;
	uint64_t end;

	if (!tr->cfg.spin_us || atomic_exchange(&tr->spinner, true))
		return;
	end = now_ns() + tr->cfg.spin_us * 1000ull;
	while (!poll(&pfd, 1, 0) && (++looks % LOOKS_PER_CLOCK || now_ns() < end))
		;
	atomic_store(&tr->spinner, false);
}

/* Receive buffers come from the cache's pool, but are none of its content until somebody keeps
 * one. */
static struct seg *buffer_alloc(struct transport *tr)
{
	struct seg *seg = seg_alloc(tr->cfg.segs, TRANSPORT_MAX_WRITE);

	if (seg)
		seg_set_idle(seg, true);
	return seg;
}

static void buffer_put(struct seg **seg)
{
	if (*seg)
		seg_set_idle(*seg, false);
	seg_put(*seg);
	*seg = NULL;
}

/* One request into the worker's buffers.  Bytes, 0: again, -errno. */
static ssize_t receive(struct worker *w)
{
	struct transport *tr = w->tr;
	struct iovec iov[2];
	ssize_t n;

	iov[0] = (struct iovec){ w->buf, WRITE_HEADERS };
	iov[1] = (struct iovec){ w->seg->base, TRANSPORT_MAX_WRITE };
	atomic_store(&w->reading, true);
	n = atomic_load(&tr->stopping) ? 0 : readv(tr->fd, iov, 2);
	atomic_store(&w->reading, false);
	if (n < 0) {
		/* ENOENT: the request was interrupted before it was read. */
		if (errno == EINTR || errno == EAGAIN || errno == ENOENT)
			return 0;
		return -errno;
	}
	return n && n < (ssize_t)sizeof(struct fuse_in_header) ? -EIO : n;
}

static void describe(struct worker *w, size_t len)
{
	struct fuse_in_header *hdr = (struct fuse_in_header *)w->buf;
	bool write = hdr->opcode == FUSE_WRITE && len >= WRITE_HEADERS;

	w->answered = false;
	w->rq.time = (struct request_time){ .opcode = hdr->opcode, .received = now_ns() };
	w->rq.hdr = hdr;
	w->rq.arg = hdr + 1;
	w->rq.payload = write ? w->seg->base : NULL;
	w->rq.payload_len = write ? len - WRITE_HEADERS : 0;
	/* Kept only if there is another to go on with. */
	if (w->rq.payload_len >= TRANSPORT_KEEP_MIN)
		w->spare = buffer_alloc(w->tr);
	w->rq.seg = w->spare ? w->seg : NULL;
	w->rq.scratch = w->seg->base;
	w->rq.arg_len = len - sizeof(*hdr) - w->rq.payload_len;
	if (!write && len > WRITE_HEADERS)
		memcpy(w->buf + WRITE_HEADERS, w->seg->base, len - WRITE_HEADERS);
}

static bool wants_no_answer(uint32_t opcode)
{
	return opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET || opcode == FUSE_INTERRUPT;
}

static void process(struct worker *w, size_t len)
{
	struct transport *tr = w->tr;
	struct fuse_buf buf = { .size = len, .mem = w->buf };

	describe(w, len);
	if (!tr->cfg.request || !tr->cfg.request(tr->cfg.userdata, &w->rq))
		fuse_session_process_buf(tr->cfg.se, &buf);
	if (w->rq.time.opcode == FUSE_INIT && tr->cfg.ready)
		tr->cfg.ready(tr->cfg.userdata);
	if (wants_no_answer(w->rq.time.opcode))
		answered(w);
	w->answered = true;
	/* Somebody kept the payload: it is theirs now. */
	if (w->spare && atomic_load(&w->seg->refs) > 1) {
		buffer_put(&w->seg);
		w->seg = w->spare;
		w->spare = NULL;
	}
	buffer_put(&w->spare);
}

/* ---- threads ---- */

static void worker_free(struct worker *w)
{
	buffer_put(&w->seg);
	tl_free(w->buf);
	tl_free(w);
}

static int start_worker(struct transport *tr)
{
	struct worker *w = tl_zalloc(sizeof(*w));
	pthread_attr_t attr;
	int err;

	if (!w)
		return -ENOMEM;
	w->tr = tr;
	w->answered = true;
	w->buf = tl_alloc(WRITE_HEADERS + TRANSPORT_MAX_WRITE);
	w->seg = buffer_alloc(tr);
	if (!w->buf || !w->seg) {
		worker_free(w);
		return -ENOMEM;
	}
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_mutex_lock(&tr->lock);
	err = -pthread_create(&w->thread, &attr, worker_main, w);
	if (!err) {
		list_add_tail(&w->link, &tr->workers);
		tr->nr_workers++;
		atomic_fetch_add(&tr->idle, 1);
	}
	pthread_mutex_unlock(&tr->lock);
	pthread_attr_destroy(&attr);
	if (err)
		worker_free(w);
	return err;
}

/* The last idle thread has got work: somebody must be there for what the work may wait for. */
static void maybe_grow(struct transport *tr)
{
	static struct ratelimit rl = RATELIMIT_INIT;
	unsigned int held;
	bool grow;

	pthread_mutex_lock(&tr->lock);
	grow = tr->nr_workers < tr->cfg.threads + EXTRA_THREADS;
	pthread_mutex_unlock(&tr->lock);
	if (grow && !atomic_load(&tr->stopping) && start_worker(tr) && ratelimit_ok(&rl, &held))
		log_warn("no more threads to be had for requests");
}

/* True if this one is not needed any more. */
static bool surplus(struct transport *tr)
{
	bool yes;

	if ((unsigned int)atomic_load(&tr->idle) <= tr->cfg.threads + EXTRA_IDLE)
		return false;
	pthread_mutex_lock(&tr->lock);
	yes = (unsigned int)atomic_load(&tr->idle) > tr->cfg.threads + EXTRA_IDLE;
	if (yes)
		atomic_fetch_sub(&tr->idle, 1);
	pthread_mutex_unlock(&tr->lock);
	return yes;
}

static void worker_end(struct worker *w, int err)
{
	struct transport *tr = w->tr;
	bool tell;

	buffer_put(&w->seg);
	tl_free(w->buf);
	self = NULL;
	if (err && err != -ENODEV)
		log_err("reading from the FUSE device: %s", strerror(-err));
	pthread_mutex_lock(&tr->lock);
	list_del_init(&w->link);
	tr->nr_workers--;
	tell = !tr->gone_told && (err || !tr->nr_workers);
	if (tell)
		tr->gone_told = true;
	/* Told under the lock: once it is let go, whoever waits for the end may free everything. */
	if (tell && tr->cfg.gone)
		tr->cfg.gone(tr->cfg.userdata);
	pthread_cond_broadcast(&tr->ended);
	pthread_mutex_unlock(&tr->lock);
	tl_free(w);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct transport *tr = w->tr;
	ssize_t n = 0;

	self = w;
	/* Wait for start_worker to have filled in the list. */
	pthread_mutex_lock(&tr->lock);
	pthread_mutex_unlock(&tr->lock);
	while (!atomic_load(&tr->stopping)) {
		n = receive(w);
		if (n < 0)
			break;
		if (!n)
			continue;
		if (atomic_fetch_sub(&tr->idle, 1) == 1)
			maybe_grow(tr);
		process(w, (size_t)n);
		atomic_fetch_add(&tr->idle, 1);
		if (surplus(tr))
			break;
		spin(tr);
	}
	worker_end(w, n < 0 ? (int)n : 0);
	return NULL;
}

int transport_create(const struct transport_config *cfg, struct transport **out)
{
	static const struct fuse_custom_io io = { .writev = session_writev, .read = session_read };
	struct sigaction sa = { .sa_handler = kick_handler };
	struct transport *tr = tl_zalloc(sizeof(*tr));
	int err;

	if (!tr)
		return -ENOMEM;
	tr->cfg = *cfg;
	tr->fd = fuse_session_fd(cfg->se);
	err = fuse_session_custom_io(cfg->se, &io, tr->fd);
	if (err) {
		tl_free(tr);
		return err;
	}
	pthread_mutex_init(&tr->lock, NULL);
	cond_init_monotonic(&tr->ended);
	INIT_LIST_HEAD(&tr->workers);
	sigaction(KICK_SIGNAL, &sa, NULL);
	*out = tr;
	return 0;
}

int transport_start(struct transport *tr)
{
	unsigned int i;
	int err;

	for (i = 0; i < tr->cfg.threads; i++) {
		err = start_worker(tr);
		if (err && !i)
			return err;
	}
	return 0;
}

/* The kernel moves requests up as others are answered, so with none waiting and all threads idle
 * there are none. */
static bool at_rest(struct transport *tr)
{
	struct pollfd pfd = { .fd = tr->fd, .events = POLLIN };
	bool rest;

	pthread_mutex_lock(&tr->lock);
	rest = (unsigned int)atomic_load(&tr->idle) == tr->nr_workers;
	pthread_mutex_unlock(&tr->lock);
	return rest && !(poll(&pfd, 1, 0) > 0 && (pfd.revents & POLLIN));
}

bool transport_settle(struct transport *tr, unsigned int ms)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	uint64_t end = now_ns() + ms * UINT64_C(1000000);
	unsigned int looks = 0;

	/* A request that a thread has just fetched is in neither place: look more than once. */
	while (looks < 3 && now_ns() < end) {
		looks = at_rest(tr) ? looks + 1 : 0;
		nanosleep(&pause, NULL);
	}
	return looks == 3;
}

void transport_stop(struct transport *tr)
{
	struct worker *me = self && self->tr == tr ? self : NULL;
	unsigned int left = me ? 1 : 0;
	struct worker *w;

	atomic_store(&tr->stopping, true);
	pthread_mutex_lock(&tr->lock);
	while (tr->nr_workers > left) {
		struct timespec until = deadline_ns(KICK_AGAIN_NS);

		/* A signal that comes just before the thread sleeps is lost, so ask again. */
		list_for_each_entry(w, &tr->workers, link) {
			if (w != me && atomic_load(&w->reading))
				pthread_kill(w->thread, KICK_SIGNAL);
		}
		pthread_cond_timedwait(&tr->ended, &tr->lock, &until);
	}
	pthread_mutex_unlock(&tr->lock);
	if (me) {
		buffer_put(&me->seg);
		me->rq.scratch = NULL;
	}
}

void transport_destroy(struct transport *tr)
{
	if (!tr)
		return;
	assert(!tr->nr_workers);
	pthread_cond_destroy(&tr->ended);
	pthread_mutex_destroy(&tr->lock);
	tl_free(tr);
}
