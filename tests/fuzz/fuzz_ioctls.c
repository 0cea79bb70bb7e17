/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's ioctls, with libfuse played by this file.  Input: base; then calls: command, file,
 * sizes of what comes in and what may go out, who asks, the bytes.  Each call is answered once,
 * with an errno that may go to a program or no more bytes than were asked for.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include "core/lib/util.h"
#include "fs/fuse/front.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/ctl.h"
#include "tests/fuzz/base.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/use.h"

#define CALLS_MAX 12

struct fuse_req {
	struct front *fr;
	struct fuse_ctx ctx;
	size_t out_size;
	unsigned int answers;
	bool interrupted, written, late;
};

/* ---- libfuse, and the parts of the daemon that have to do with the kernel ---- */

int fuse_reply_err(fuse_req_t req, int err)
{
	if (err < 0 || err > 4000)
		fuzz_die("errno %d for a program", err);
	req->answers++;
	return 0;
}

int fuse_reply_ioctl(fuse_req_t req, int result, const void *buf, size_t size)
{
	volatile uint8_t sum = 0;

	if (size > req->out_size)
		fuzz_die("%zu bytes where %zu were asked for", size, req->out_size);
	for (size_t k = 0; k < size; k++)
		sum = (uint8_t)(sum + ((const uint8_t *)buf)[k]);
	fuzz_no_poison(buf, size, "an answer");
	req->answers++;
	return 0;
}

void *fuse_req_userdata(fuse_req_t req)
{
	return req->fr;
}

const struct fuse_ctx *fuse_req_ctx(fuse_req_t req)
{
	return &req->ctx;
}

int fuse_req_interrupted(fuse_req_t req)
{
	return req->interrupted;
}

int fuse_session_exited(struct fuse_session *se)
{
	return 0;
}

int fuse_lowlevel_notify_inval_inode(struct fuse_session *se, fuse_ino_t ino, off_t off, off_t len)
{
	return 0;
}

static struct fuse_req now;

bool open_for_writing(struct front *fr, uint64_t ino)
{
	return now.written;
}

bool later(struct front *fr, struct work *w)
{
	if (now.late)
		w->fn(w);
	return now.late;
}

const struct raw_request *transport_current(void)
{
	static const struct raw_request none;

	return &none;
}

void transport_answered(struct transport *tr, const struct request_time *t)
{
}

const struct hist *transport_latency(const struct transport *tr, uint32_t opcode)
{
	static const struct hist none;

	return &none;
}

/* ---- calls ---- */

static void call(struct front *fr, const struct use *u, struct fuzz_in *in)
{
	static const unsigned int commands[] = {
		TALLY_IOC_STATUS,   TALLY_IOC_SYNC,  TALLY_IOC_UNSHARE, TALLY_IOC_EXTENTS,
		TALLY_IOC_IDENTITY, FITRIM,	     FS_IOC_GETFSLABEL, FS_IOC_GETFLAGS,
		FS_IOC_FSGETXATTR,  FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR, 0
	};
	unsigned int command = commands[fuzz_get(in, 1) % ARRAY_SIZE(commands)];
	uint64_t ino = u->inode[fuzz_get(in, 1) % u->nr].ino, who;
	size_t in_size = fuzz_get(in, 2) % 4097, out_size = fuzz_get(in, 2), given;
	struct open_file of = { .ino = ino };
	struct fuse_file_info fi = { 0 };
	const uint8_t *bytes;
	uint8_t *buf;
	bool dir;

	who = fuzz_get(in, 1);
	given = fuzz_take(in, min_t(size_t, in_size, 64), &bytes);
	buf = calloc(1, in_size + 1);
	if (!buf)
		fuzz_die("out of memory");
	buf = realloc(buf, in_size ? in_size : 1);
	if (given)
		memcpy(buf, bytes, given);
	of.writable = who & 1;
	dir = vfs_open(u->fs, ino, of.writable ? O_RDWR : O_RDONLY, &of.f) != 0;
	fi.fh = dir ? 0 : (uint64_t)(uintptr_t)&of;
	now = (struct fuse_req){ .fr = fr,
				 .ctx = { .uid = who & 2 ? 1000 : 0 },
				 .out_size = out_size,
				 .interrupted = who & 4,
				 .written = who & 8,
				 .late = who & 16 };
	op_ioctl(&now, ino, command, NULL, &fi, dir ? FUSE_IOCTL_DIR : 0, in_size ? buf : NULL,
		 in_size, out_size);
	if (now.answers != 1)
		fuzz_die("%u answers", now.answers);
	if (!dir)
		vfs_release(u->fs, of.f);
	free(buf);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_init();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tfs_mount_opts o = { .no_threads = !fuzz_threads(), .cache_size = 2u << 20 };
	struct options opts = { 0 };
	struct front fr = { .opts = &opts, .status_lock = PTHREAD_MUTEX_INITIALIZER };
	struct fuzz_in in = fuzz_start(data, size);
	struct base *b = base_get((unsigned int)fuzz_get(&in, 1));
	static struct use u;
	char why[300];

	if (vfs_mount(b->dev, &o, &u.fs, why, sizeof(why)))
		fuzz_die("mount: %s", why);
	u.sound = true;
	use_walk(&u);
	fr.fs = u.fs;
	fr.bdev = b->dev;
	for (unsigned int k = 0; k < CALLS_MAX && in.left; k++)
		call(&fr, &u, &in);
	tl_free(fr.status_text);
	use_ret(&u, vfs_unmount(u.fs), "unmount");
	return 0;
}
