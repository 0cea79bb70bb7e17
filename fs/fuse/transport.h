/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The transport under libfuse: reads requests from the FUSE device with
 * threads and buffers of its own and hands them to libfuse's low-level session.
 *
 * What libfuse alone could not do:
 *  - a WRITE's payload lands at the start of a page-aligned segment, apart from
 *    its headers, so that a page cache may keep that memory instead of copying it;
 *  - handlers see the request as the kernel sent it, with the flags that libfuse
 *    drops, and requests that libfuse does not know can be answered;
 *  - the INIT reply can be amended;
 *  - threads spin for a moment before they sleep, and there is always one more
 *    that reads when all are busy.
 */
#ifndef FS_FUSE_TRANSPORT_H
#define FS_FUSE_TRANSPORT_H

#include <fuse_lowlevel.h>
#include "core/block/seg.h"
#include "core/lib/hist.h"
#include "fs/fuse/abi.h"

#define TRANSPORT_MAX_WRITE (1u << 20) /* bytes of payload in a WRITE or READ */
/*
 * A payload that fills less of its segment than this is to be copied instead of kept: the
 * rest of the segment would be held for nothing.
 */
#define TRANSPORT_KEEP_MIN (TRANSPORT_MAX_WRITE / 2)

struct transport;

/* Of which kind a request is, and when it came. */
struct request_time {
	uint32_t opcode;
	uint64_t received; /* now_ns() */
};

/* The request that the calling thread works on, as the kernel sent it. */
struct raw_request {
	struct request_time time;
	const struct fuse_in_header *hdr;
	const void *arg; /* what follows the header; for WRITE: struct fuse_write_in only */
	size_t arg_len;	 /* bytes */
	/* WRITE only. */
	void *payload;
	size_t payload_len;
	/* @payload is its start; take a reference to keep it.  NULL: it is small, or there is no
	 * memory for another. */
	struct seg *seg;
	/* TRANSPORT_MAX_WRITE bytes to use until the request is answered; the payload of a
	 * WRITE. */
	void *scratch;
};

struct transport_config {
	struct fuse_session *se; /* mounted */
	struct seg_pool *segs;	 /* where receive buffers come from */
	unsigned int threads;	 /* started at once, >= 1; more come when all are busy */
	unsigned int spin_us;	 /* 0: sleep at once */
	void *userdata;
	/* Look at INIT: may change what libfuse is about to answer. */
	void (*init)(void *userdata, const struct fuse_init_in *in, struct fuse_init_out *out);
	/* A request before libfuse sees it.  True: it has been answered (transport_reply). */
	bool (*request)(void *userdata, const struct raw_request *rq);
	/* INIT has been answered: the mount is usable. */
	void (*ready)(void *userdata);
	/* The kernel has closed the connection, or the last thread has gone for another reason. */
	void (*gone)(void *userdata);
};

/* Prepares, and makes libfuse write through us; no threads yet.  0 or -errno. */
int transport_create(const struct transport_config *cfg, struct transport **out);
/* Start reading requests.  The caller has blocked the signals it waits for.  0 or -errno. */
int transport_start(struct transport *tr);
/*
 * Wait, at most @ms milliseconds, until the kernel has no request for us and none is in work: what
 * it has been made to write is here then.  True if so.
 */
bool transport_settle(struct transport *tr, unsigned int ms);
/*
 * Stop all threads but the caller and give all receive buffers back; what is in
 * work is finished first.  Called from outside, or from a handler that ends
 * the session (DESTROY).  May be called again.
 */
void transport_stop(struct transport *tr);
/* After transport_stop, not from a handler. */
void transport_destroy(struct transport *tr);

/* The request of this thread; NULL outside of a handler. */
const struct raw_request *transport_current(void);
/*
 * Answer the current request, one that libfuse has not seen.  @error: 0 or a positive errno.
 * 0 or -errno, as transport_reply_iov.
 */
int transport_reply(int error, const void *data, size_t len);
/*
 * Answer @req, which is the current request, without libfuse's copying and
 * allocation.  iov[0] is left free for the header.  0 or -errno: -ENOENT if the caller was
 * interrupted and knows nothing of the answer.
 */
int transport_reply_iov(fuse_req_t req, struct iovec *iov, int n);
int transport_reply_data(fuse_req_t req, const void *data, size_t len);

/*
 * How long requests took, from when they were read to when the answer was written, FORGET to its
 * end.  Opcodes from TRANSPORT_OPCODES on are all under 0.
 */
#define TRANSPORT_OPCODES 64
const struct hist *transport_latency(const struct transport *tr, uint32_t opcode);
/* A request that a handler passed to a thread of its own has been answered there. */
void transport_answered(struct transport *tr, const struct request_time *t);

#endif
