/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/exercise/differ.h"

#define PATIENCE 120 /* seconds; for a batch */

int differ_slots[SLOTS] = { -1, -1, -1, -1, -1, -1 };

void result_bytes(struct result *r, const void *data, size_t len)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i++)
		r->hash = (r->hash ^ p[i]) * 0x100000001b3ull;
	r->hash += len;
}

void result_say(struct result *r, const char *fmt, ...)
{
	size_t at = strlen(r->text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->text + at, sizeof(r->text) - at, fmt, ap);
	va_end(ap);
	result_bytes(r, r->text + at, strlen(r->text + at));
}

/* ---- in the process of one side ---- */

/* Whoever it is, the way back is by the saved user ID. */
static int become(int64_t user)
{
	static const gid_t groups[3][2] = { { 0 }, { 1001 }, { 1002, 1001 } };
	static const gid_t ids[3] = { 0, 1001, 1002 };
	static int64_t now;

	user %= 3;
	if (user == now)
		return 0;
	if (seteuid(0) || setgroups(user == 2 ? 2 : 1, groups[user]) || setegid(ids[user]) ||
	    seteuid(ids[user]))
		return -errno;
	now = user;
	return 0;
}

static void do_one(const struct op *op, struct result *r)
{
	*r = (struct result){ 0 };
	r->ret = become(op->arg[0]);
	if (r->ret || op->kind >= OP_KINDS)
		return;
	switch ((enum kind)op->kind) {
	case OP_TRUNCATE ... OP_COPY:
	case OP_FSYNC:
		differ_do_content(op, r);
		break;
	case OP_OPEN ... OP_RENAME:
	case OP_READLINK:
	case OP_LIST:
	case OP_STATFS:
		differ_do_name(op, r);
		break;
	default:
		differ_do_attr(op, r);
	}
}

static int wipe(void)
{
	for (int i = 0; i < SLOTS; i++) {
		if (differ_slots[i] >= 0)
			close(differ_slots[i]);
		differ_slots[i] = -1;
	}
	umask(022);
	return differ_wipe();
}

static char do_what(struct shared *sh, int which, char what)
{
	if (what == SIDE_RUN)
		for (size_t i = 0; i < sh->nr; i++)
			do_one(&sh->ops[i], &sh->results[which][i]);
	if (become(0))
		return '!';
	if (what == SIDE_TREE)
		differ_tree(sh->tree[which], TREE_MAX);
	if (what == SIDE_WIPE && wipe())
		return '!';
	return what;
}

/* Names that lead out, and there are such, do not lead out of a root directory. */
static void serve(struct side *s, struct shared *sh, int which)
{
	char what;

	signal(SIGPIPE, SIG_IGN);
	if (chdir(s->top) || chroot(".")) {
		fprintf(stderr, "differ: %s: %s\n", s->top, strerror(errno));
		_exit(2);
	}
	umask(022);
	while (read(s->from, &what, 1) == 1) {
		what = do_what(sh, which, what);
		if (write(s->to, &what, 1) != 1)
			break;
	}
	_exit(0);
}

/* ---- in the process that compares ---- */

void side_start(struct side *s, struct shared *sh, int which, const char *top)
{
	int down[2], up[2];

	s->top = top;
	if (pipe2(down, O_CLOEXEC) || pipe2(up, O_CLOEXEC) || (s->pid = fork()) < 0) {
		perror("differ");
		exit(2);
	}
	if (!s->pid) {
		close(down[1]);
		close(up[0]);
		s->from = down[0];
		s->to = up[1];
		serve(s, sh, which);
	}
	close(down[0]);
	close(up[1]);
	s->to = down[1];
	s->from = up[0];
}

int sides_do(struct side s[2], char what)
{
	char answer;

	for (int i = 0; i < 2; i++)
		if (write(s[i].to, &what, 1) != 1) {
			fprintf(stderr, "%s: its process has ended\n", s[i].top);
			return -1;
		}
	for (int i = 0; i < 2; i++) {
		struct pollfd p = { .fd = s[i].from, .events = POLLIN };

		if (poll(&p, 1, PATIENCE * 1000) != 1) {
			fprintf(stderr, "%s: stands still\n", s[i].top);
			return -1;
		}
		if (read(s[i].from, &answer, 1) != 1 || answer != what) {
			fprintf(stderr, "%s: has failed\n", s[i].top);
			return -1;
		}
	}
	return 0;
}

/* The second has inherited the first one's pipe: that one ends only when both are closed. */
void sides_end(struct side s[2])
{
	for (int i = 0; i < 2; i++) {
		close(s[i].to);
		close(s[i].from);
	}
	for (int i = 0; i < 2; i++)
		waitpid(s[i].pid, NULL, 0);
}
