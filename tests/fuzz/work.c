/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing a mounted file system, one operation for every few bytes of input. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include "fs/journal/journal.h"
#include "tests/fuzz/use.h"

#define WRITE_MAX (24u << 10)

static const struct vfs_cred cred = { .umask = 022 };

/* One operation, as it lies in an input. */
struct step {
	uint8_t op, a, b; /* which operation, on which of those found */
	uint16_t pos;	  /* in KiB/4 */
	uint8_t len;
};

static uint64_t pos_of(const struct step *s)
{
	/* the last few are far away */
	return s->pos < 0xfff0 ? (uint64_t)s->pos * 256 : (uint64_t)s->pos << 44;
}

static uint64_t len_of(const struct step *s)
{
	return 1 + (uint64_t)s->len * 97 % WRITE_MAX;
}

static void content(struct use *u, const struct step *s, struct vfs_file *f, struct vfs_file *g)
{
	static __thread uint8_t buf[WRITE_MAX];
	uint64_t pos = pos_of(s), len = len_of(s);
	int64_t n;

	switch (s->op % 8) {
	case 0:
	case 1:
		memset(buf, 'w', sizeof(buf));
		use_ret(u, vfs_pwrite(u->fs, f, buf, len, pos), "write");
		break;
	case 2:
		use_ret(u,
			vfs_fallocate(u->fs, f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, pos,
				      len),
			"punch");
		break;
	case 3:
		use_ret(u, vfs_fallocate(u->fs, f, s->b & 1 ? FALLOC_FL_ZERO_RANGE : 0, pos, len),
			"fallocate");
		break;
	case 4:
		if (g)
			use_ret(u, vfs_copy_file_range(u->fs, f, pos, g, pos % 8192, len * 4, 0),
				"copy");
		break;
	case 5:
		use_ret(u, vfs_fsync(u->fs, f, s->b & 1), "fsync");
		break;
	case 6:
		use_ret(u, vfs_unshare(u->fs, f, &pos, &len, NULL, NULL), "unshare");
		break;
	default:
		n = use_ret(u, vfs_pread(u->fs, f, buf, len, pos), "read");
		if (n > 0)
			fuzz_no_poison(buf, (size_t)n, "content of a file");
	}
}

static void on_content(struct use *u, const struct step *s)
{
	struct vfs_file *f, *g = NULL;

	if (use_ret(u,
		    vfs_open(u->fs, u->inode[s->a % u->nr].ino,
			     O_RDWR | (s->len & 1 ? O_DIRECT : 0) | (s->len & 2 ? O_APPEND : 0),
			     &f),
		    "open"))
		return;
	if (vfs_open(u->fs, u->inode[s->b % u->nr].ino, O_RDWR, &g))
		g = NULL;
	content(u, s, f, g);
	vfs_release(u->fs, f);
	if (g)
		vfs_release(u->fs, g);
}

static void make(struct use *u, const struct step *s)
{
	uint64_t dir = u->inode[s->a % u->nr].ino;
	struct vfs_attr a;
	struct vfs_file *f = NULL;
	char name[USE_NAME];
	int err;

	snprintf(name, sizeof(name), "new-%u-%0*u", s->b, 1 + s->len % 240, s->pos);
	if (s->op % 4 == 0)
		err = vfs_mkdir(u->fs, dir, name, 0755, &cred, &a);
	else if (s->op % 4 == 1)
		err = vfs_symlink(u->fs, dir, name, "target", &cred, &a);
	else if (s->op % 4 == 2)
		err = vfs_tmpfile(u->fs, dir, 0600, &cred, O_RDWR, &a, &f);
	else
		err = vfs_link(u->fs, u->inode[s->b % u->nr].ino, dir, name, &a);
	if (use_ret(u, err, "make"))
		return;
	vfs_forget(u->fs, a.ino, 1);
	if (f)
		vfs_release(u->fs, f);
}

static void on_names(struct use *u, const struct step *s)
{
	const struct use_inode *i = &u->inode[s->a % u->nr], *j = &u->inode[s->b % u->nr];
	char name[USE_NAME];

	snprintf(name, sizeof(name), "to-%u", s->len);
	switch (s->op % 6) {
	case 0:
		use_ret(u, vfs_unlink(u->fs, i->dir, i->name), "unlink");
		break;
	case 1:
		use_ret(u, vfs_rmdir(u->fs, i->dir, i->name), "rmdir");
		break;
	case 2:
		use_ret(u,
			vfs_rename(u->fs, i->dir, i->name, j->dir, j->name,
				   s->len & 1 ? RENAME_EXCHANGE : 0),
			"rename");
		break;
	case 3:
		use_ret(u, vfs_rename(u->fs, i->dir, i->name, j->ino, name, 0), "rename");
		break;
	case 4:
		use_ret(u, vfs_rename_whiteout(u->fs, i->dir, i->name, j->dir, name, 0, &cred),
			"whiteout");
		break;
	default:
		vfs_forget(u->fs, i->ino, u->inode[0].ino == i->ino ? 0 : 1);
		u->inode[s->a % u->nr] = u->inode[0];
	}
}

static void on_inode(struct use *u, const struct step *s)
{
	uint64_t ino = u->inode[s->a % u->nr].ino;
	struct vfs_attr a = { .size = pos_of(s), .mode = s->pos & 07777, .uid = s->len };
	static __thread uint8_t value[16384];
	char name[32];

	snprintf(name, sizeof(name), "user.x%u", s->b % 8);
	switch (s->op % 5) {
	case 0:
		use_ret(u, vfs_setattr(u->fs, ino, VFS_SET_SIZE, &a, &cred, &a), "truncate");
		break;
	case 1:
		use_ret(u, vfs_setattr(u->fs, ino, VFS_SET_MODE | VFS_SET_UID, &a, &cred, &a),
			"chmod");
		break;
	case 2:
		memset(value, 'x', sizeof(value));
		use_ret(u,
			vfs_setxattr(u->fs, ino, s->len % 16 ? name : "user.large", value,
				     s->pos % sizeof(value), 0, &cred),
			"setxattr");
		break;
	case 3:
		use_ret(u, vfs_removexattr(u->fs, ino, s->len % 4 ? "user.large" : name, &cred),
			"removexattr");
		break;
	default:
		use_ret(u, vfs_set_flags(u->fs, ino, s->len & 3), "flags");
	}
}

static void on_all(struct use *u, const struct step *s)
{
	uint64_t trimmed;

	switch (s->op % 4) {
	case 0:
		use_ret(u, vfs_sync(u->fs), "sync");
		break;
	case 1:
		use_ret(u, vfs_trim(u->fs, 0, UINT64_MAX, 0, NULL, NULL, &trimmed), "trim");
		break;
	case 2:
		use_ret(u, journal_checkpoint(u->fs), "checkpoint");
		break;
	default:
		use_ret(u, vfs_fsyncdir(u->fs, u->inode[s->a % u->nr].ino), "fsyncdir");
	}
}

void use_work(struct use *u, struct fuzz_in *in, unsigned int max)
{
	static void (*const kind[])(struct use * u, const struct step *s) = {
		on_content, on_names, on_inode, make, on_content, on_names, on_inode, on_all
	};

	for (unsigned int k = 0; k < max && in->left >= 6; k++) {
		struct step s;

		s.op = (uint8_t)fuzz_get(in, 1);
		s.a = (uint8_t)fuzz_get(in, 1);
		s.b = (uint8_t)fuzz_get(in, 1);
		s.pos = (uint16_t)fuzz_get(in, 2);
		s.len = (uint8_t)fuzz_get(in, 1);
		kind[s.op >> 5](u, &s);
	}
}
