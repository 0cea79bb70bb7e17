/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pairs of operations that could undo what each other has just established, over and over. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "core/iomap/iomap.h"
#include "fs/inode/inode.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"

#define ROUNDS 400
#define ROOT TFS_INO_ROOT
#define CAPS "security.capability"

static struct fixture fx;
static pthread_barrier_t start;

static void in_parallel(void *(*a)(void *), void *(*b)(void *), void *arg)
{
	pthread_t t[2];

	FX_OK(pthread_barrier_init(&start, NULL, 2));
	FX_OK(pthread_create(&t[0], NULL, a, arg));
	FX_OK(pthread_create(&t[1], NULL, b, arg));
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	pthread_barrier_destroy(&start);
}

/* ---- capabilities set while a write takes them away ---- */

static void write_as_other(struct vfs_file *f)
{
	struct iomap_src src = { .buf = "x", .len = 1 };
	bool killed;

	FX_IS(vfs_write(fx.fs, f, 0, &src, VFS_WRITE_KILL_PRIV, &killed), 1);
}

static void *caps_set(void *arg)
{
	struct vfs_file *f = arg;

	pthread_barrier_wait(&start);
	FX_OK(vfs_setxattr(fx.fs, f->inode->ino, CAPS, "caps", 4, 0, &fx_root));
	return NULL;
}

static void *caps_killed(void *arg)
{
	pthread_barrier_wait(&start);
	write_as_other(arg);
	return NULL;
}

/* Whichever was first: the next write by somebody else finds none, or takes them. */
static void capabilities(void)
{
	struct vfs_file *f;

	fx_file(&fx, "program", &f);
	for (unsigned int n = 0; n < ROUNDS; n++) {
		in_parallel(caps_set, caps_killed, f);
		write_as_other(f);
		FX_IS(vfs_getxattr(fx.fs, f->inode->ino, CAPS, NULL, 0), -ENODATA);
	}
	fx_close(&fx, f);
}

/* ---- two directories, each moved below the other ---- */

struct pair {
	uint64_t ino[2];
	int err[2];
};

static void *a_below_b(void *arg)
{
	struct pair *p = arg;

	pthread_barrier_wait(&start);
	p->err[0] = vfs_rename(fx.fs, ROOT, "a", p->ino[1], "a", 0);
	return NULL;
}

static void *b_below_a(void *arg)
{
	struct pair *p = arg;

	pthread_barrier_wait(&start);
	p->err[1] = vfs_rename(fx.fs, ROOT, "b", p->ino[0], "b", 0);
	return NULL;
}

static void crossing_moves(void)
{
	struct vfs_attr a;
	struct pair p;

	FX_OK(vfs_mkdir(fx.fs, ROOT, "a", 0755, &fx_root, &a));
	p.ino[0] = a.ino;
	FX_OK(vfs_mkdir(fx.fs, ROOT, "b", 0755, &fx_root, &a));
	p.ino[1] = a.ino;
	for (unsigned int n = 0; n < ROUNDS; n++) {
		in_parallel(a_below_b, b_below_a, &p);
		/* the second finds itself above where it should go */
		FX_CHECK((!p.err[0] && p.err[1] == -EINVAL) || (p.err[0] == -EINVAL && !p.err[1]));
		if (!p.err[0])
			FX_OK(vfs_rename(fx.fs, p.ino[1], "a", ROOT, "a", 0));
		else
			FX_OK(vfs_rename(fx.fs, p.ino[0], "b", ROOT, "b", 0));
	}
}

int main(void)
{
	fx_init();
	fx_create(&fx, FX_SMALL);
	capabilities();
	crossing_moves();
	fx_destroy(&fx);
	fx_exit();
	return 0;
}
