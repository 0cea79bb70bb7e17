/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text behind `tallyctl status`: what is counted, and how long requests took. */
#include "core/lib/hist.h"
#include "core/lib/util.h"
#include "fs/fuse/abi.h"
#include "fs/fuse/front.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/ctl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct text {
	char *buf;
	size_t len, size;
	bool failed;
};

static void add_stat(void *arg, const char *group, const char *name, uint64_t value)
{
	struct text *t = arg;
	char line[256];
	int n = snprintf(line, sizeof(line), "%s.%s %llu\n", group, name,
			 (unsigned long long)value);

	if (n < 0 || n >= (int)sizeof(line))
		return;
	if (t->len + (size_t)n > t->size) {
		size_t size = t->size ? 2 * t->size : 4096;
		char *bigger = tl_realloc(t->buf, size);

		if (!bigger) {
			t->failed = true;
			return;
		}
		t->buf = bigger;
		t->size = size;
	}
	memcpy(t->buf + t->len, line, (size_t)n);
	t->len += (size_t)n;
}

/* What the kernel calls its requests. */
static const char *const kinds[TRANSPORT_OPCODES] = {
	[0] = "other",
	[FUSE_LOOKUP] = "lookup",
	[FUSE_FORGET] = "forget",
	[FUSE_GETATTR] = "getattr",
	[FUSE_SETATTR] = "setattr",
	[FUSE_READLINK] = "readlink",
	[FUSE_SYMLINK] = "symlink",
	[FUSE_MKNOD] = "mknod",
	[FUSE_MKDIR] = "mkdir",
	[FUSE_UNLINK] = "unlink",
	[FUSE_RMDIR] = "rmdir",
	[FUSE_RENAME] = "rename",
	[FUSE_LINK] = "link",
	[FUSE_OPEN] = "open",
	[FUSE_READ] = "read",
	[FUSE_WRITE] = "write",
	[FUSE_STATFS] = "statfs",
	[FUSE_RELEASE] = "release",
	[FUSE_FSYNC] = "fsync",
	[FUSE_SETXATTR] = "setxattr",
	[FUSE_GETXATTR] = "getxattr",
	[FUSE_LISTXATTR] = "listxattr",
	[FUSE_REMOVEXATTR] = "removexattr",
	[FUSE_FLUSH] = "flush",
	[FUSE_INIT] = "init",
	[FUSE_OPENDIR] = "opendir",
	[FUSE_READDIR] = "readdir",
	[FUSE_RELEASEDIR] = "releasedir",
	[FUSE_FSYNCDIR] = "fsyncdir",
	[FUSE_GETLK] = "getlk",
	[FUSE_SETLK] = "setlk",
	[FUSE_SETLKW] = "setlkw",
	[FUSE_ACCESS] = "access",
	[FUSE_CREATE] = "create",
	[FUSE_INTERRUPT] = "interrupt",
	[FUSE_BMAP] = "bmap",
	[FUSE_DESTROY] = "destroy",
	[FUSE_IOCTL] = "ioctl",
	[FUSE_POLL] = "poll",
	[FUSE_NOTIFY_REPLY] = "notify_reply",
	[FUSE_BATCH_FORGET] = "batch_forget",
	[FUSE_FALLOCATE] = "fallocate",
	[FUSE_READDIRPLUS] = "readdirplus",
	[FUSE_RENAME2] = "rename2",
	[FUSE_LSEEK] = "lseek",
	[FUSE_COPY_FILE_RANGE] = "copy_file_range",
	[ABI_SYNCFS] = "syncfs",
	[ABI_TMPFILE] = "tmpfile",
	[ABI_STATX] = "statx",
};

static void add_latencies(const struct front *fr, struct text *t)
{
	for (uint32_t op = 0; op < TRANSPORT_OPCODES; op++) {
		char plain[16];

		snprintf(plain, sizeof(plain), "opcode_%u", op);
		hist_export(transport_latency(fr->tr, op), TALLY_STATUS_LATENCY,
			    kinds[op] ? kinds[op] : plain, add_stat, t);
	}
}

/* A caller who comes for the first page gets fresh numbers; whoever still pages through the old
 * ones gets whole lines all the same. */
static int refresh_status(struct front *fr)
{
	struct text t = { 0 };

	vfs_stats(fr->fs, add_stat, &t);
	add_stat(&t, "mount", "read_only", atomic_load(&fr->fs->read_only));
	add_stat(&t, "mount", "writeback_cache", fr->opts->writeback_cache);
	add_stat(&t, "mount", "threads", fr->opts->threads);
	add_latencies(fr, &t);
	vfs_latencies(fr->fs, TALLY_STATUS_LATENCY, add_stat, &t);
	if (t.failed) {
		tl_free(t.buf);
		return -ENOMEM;
	}
	tl_free(fr->status_text);
	fr->status_text = t.buf;
	fr->status_len = t.len;
	return 0;
}

/* As many whole lines from line @st->first on as fit. */
static void fill_page(const struct front *fr, struct tally_status *st)
{
	const char *p = fr->status_text, *end = p + fr->status_len;
	uint32_t line = 0;

	st->lines = 0;
	st->len = 0;
	st->total = 0;
	for (; p < end; line++) {
		const char *next = (const char *)memchr(p, '\n', (size_t)(end - p)) + 1;
		size_t n = (size_t)(next - p);

		if (line == st->first + st->lines && n <= sizeof(st->text) - st->len) {
			memcpy(st->text + st->len, p, n);
			st->len += (uint32_t)n;
			st->lines++;
		}
		p = next;
	}
	st->total = line;
}

void ioctl_status(fuse_req_t req, const void *in, size_t in_size, size_t out_size)
{
	struct front *fr = front_of(req);
	struct tally_status st;
	int err = 0;

	if (in_size < sizeof(st) || out_size < sizeof(st)) {
		reply_err(req, -EINVAL);
		return;
	}
	memcpy(&st, in, sizeof(st));
	if (st.version != TALLY_CTL_VERSION) {
		reply_err(req, -EPROTO);
		return;
	}
	memset(st.text, 0, sizeof(st.text));
	pthread_mutex_lock(&fr->status_lock);
	if (!st.first || !fr->status_text)
		err = refresh_status(fr);
	if (!err)
		fill_page(fr, &st);
	pthread_mutex_unlock(&fr->status_lock);
	if (err)
		reply_err(req, err);
	else
		fuse_reply_ioctl(req, 0, &st, sizeof(st));
}
