/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Steps of a sequence, as they are written: a word, with "," and how, and what it is done to.
 *
 *   creat P, mkdir P, rmdir P, unlink P, symlink P, link P Q, rename P Q, exchange P Q
 *   write[,direct][,sync|,dsync] P POS LEN, append[,sync|,dsync] P LEN, store P POS LEN (a
 * mapping's page, from the kernel's cache), truncate P SIZE, punch P POS LEN, zero[,keep] P POS
 * LEN, falloc[,keep] P POS LEN, copy[,sync|,dsync] P POS Q POS LEN, unshare P chmod P MODE, chown
 * P, setxattr P LEN, removexattr P fsync P (file or directory), fdatasync P, sync writeback, commit
 * (what threads do, which promises nothing)
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/pagecache/pagecache.h"
#include "fs/journal/journal.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"
#include "tests/lib/sequence_priv.h"

#define PATH_BYTES 64

struct step {
	struct tfs_fs *fs;
	struct seq_model *m;		/* or NULL */
	const char *word;		/* what is done, */
	bool keep, direct, sync, dsync; /* and how */
	char path[2][PATH_BYTES];
	/* of both paths */
	uint64_t dir[2], ino[2]; /* 0: none */
	const char *name[2];
	mode_t mode[2];
	unsigned long long n[3]; /* numbers, in order */
};

/* Number of the step, which is in all that it writes. */
static unsigned int nr_of(const struct step *s)
{
	return s->m ? s->m->step : 0;
}

static bool is(const struct step *s, const char *word)
{
	return !strcmp(s->word, word);
}

static struct seq_file *model(const struct step *s, int k)
{
	return s->m && S_ISREG(s->mode[k]) ? seq_file(s->m, s->ino[k]) : NULL;
}

/* Its inode is written by the transaction that changes names or attributes. */
static int named(const struct step *s, int k, int err)
{
	struct seq_file *f = err || !s->ino[k] ? NULL : model(s, k);

	if (f)
		f->in_names |= 1u << s->m->step;
	return err;
}

static int forgotten(const struct step *s, int err, const struct vfs_attr *a)
{
	if (!err)
		vfs_forget(s->fs, a->ino, 1);
	return err;
}

/* ---- contents ---- */

static int open_flags(const struct step *s)
{
	return (s->direct ? O_DIRECT : 0) | (s->dsync ? O_DSYNC : 0) | (s->sync ? O_SYNC : 0) |
	       (is(s, "append") ? O_APPEND : 0);
}

static int with_file(struct step *s, int (*fn)(struct step *s, struct vfs_file *f))
{
	struct vfs_file *f;
	int err;

	if (!S_ISREG(s->mode[0]))
		return -EINVAL;
	err = vfs_open(s->fs, s->ino[0], O_RDWR | open_flags(s), &f);
	if (err)
		return err;
	err = fn(s, f);
	vfs_release(s->fs, f);
	return err;
}

/* Bytes that tell in which step they were written, and where. */
static uint8_t *page_of_bytes(const struct step *s, uint64_t pos, uint64_t len)
{
	uint8_t *buf = aligned_alloc(4096, round_up_to(len, 4096));

	FX_CHECK(buf);
	for (uint64_t i = 0; i < len; i++)
		buf[i] = (uint8_t)(1 + (nr_of(s) * 31 + (pos + i) * 7 + ((pos + i) >> 8)) % 255);
	return buf;
}

/* What the kernel sends when it writes back a page that was changed through a mapping. */
static int64_t store(struct step *s, struct vfs_file *f, const uint8_t *buf, uint64_t pos,
		     uint64_t len)
{
	struct iomap_src src = { .buf = buf, .len = len };
	int64_t n = vfs_write(s->fs, f, pos, &src, VFS_WRITE_CACHE, NULL);
	struct vfs_attr a = { 0 };

	if (n < 0)
		return n;
	clock_gettime(CLOCK_REALTIME_COARSE, &a.mtime);
	a.ctime = a.mtime;
	return vfs_setattr(s->fs, s->ino[0], VFS_SET_MTIME | VFS_SET_CTIME | VFS_SET_WRITTEN, &a,
			   &fx_root, &a)
		       ?: n;
}

/* What O_SYNC and O_DSYNC promise. */
static void did_sync(const struct step *s, struct seq_file *f)
{
	if (s->sync || s->dsync)
		seq_did_sync(s->m, f, !s->sync);
}

static int write_file(struct step *s, struct vfs_file *f)
{
	bool append = is(s, "append");
	uint64_t pos = append ? fx_size_of(&(struct fixture){ .fs = s->fs }, f) : s->n[0];
	uint64_t len = append ? s->n[0] : s->n[1];
	uint8_t *buf = page_of_bytes(s, pos, len);
	int64_t n =
		is(s, "store") ? store(s, f, buf, pos, len) : vfs_pwrite(s->fs, f, buf, len, pos);
	struct seq_file *mf = model(s, 0);

	if (n > 0 && mf) {
		seq_did_write(mf, pos, buf, (uint64_t)n);
		if (is(s, "store"))
			named(s, 0, 0);
		did_sync(s, mf);
	}
	free(buf);
	return n < 0 ? (int)n : 0;
}

static int fallocate_file(struct step *s, struct vfs_file *f)
{
	bool punch = is(s, "punch"), zero = is(s, "zero"), keep = punch || s->keep;
	int mode = (keep ? FALLOC_FL_KEEP_SIZE : 0) | (punch ? FALLOC_FL_PUNCH_HOLE : 0) |
		   (zero ? FALLOC_FL_ZERO_RANGE : 0);
	struct seq_file *mf = model(s, 0);
	int err = vfs_fallocate(s->fs, f, mode, s->n[0], s->n[1]);
	uint64_t end = s->n[0] + s->n[1];

	if (err || !mf)
		return err;
	if (punch || zero)
		seq_did_zero(mf, s->n[0], s->n[1], keep);
	else if (!keep && end > mf->size)
		seq_did_zero(mf, mf->size, end - mf->size, false);
	return 0;
}

static int unshare_file(struct step *s, struct vfs_file *f)
{
	return fx_unshare(s->fs, f, 0, SEQ_BYTES);
}

static int do_copy(struct step *s)
{
	struct seq_file *in = model(s, 0), *out = model(s, 1);
	struct vfs_file *fin, *fout;
	int64_t n;
	int err;

	if (!S_ISREG(s->mode[0]) || !S_ISREG(s->mode[1]))
		return -EINVAL;
	err = vfs_open(s->fs, s->ino[0], O_RDONLY, &fin);
	if (err)
		return err;
	err = vfs_open(s->fs, s->ino[1], O_RDWR | open_flags(s), &fout);
	if (!err) {
		n = vfs_copy_file_range(s->fs, fin, s->n[0], fout, s->n[1], s->n[2], 0);
		if (n > 0 && in) {
			seq_did_write(out, s->n[1], in->data + s->n[0], (uint64_t)n);
			did_sync(s, out);
		}
		err = n <= 0 ? -EINVAL : 0;
		vfs_release(s->fs, fout);
	}
	vfs_release(s->fs, fin);
	return err;
}

static int do_truncate(struct step *s)
{
	struct vfs_attr a = { .size = s->n[0] };
	int err = S_ISREG(s->mode[0])
			  ? vfs_setattr(s->fs, s->ino[0], VFS_SET_SIZE, &a, &fx_root, &a)
			  : -EINVAL;

	if (!err && s->m)
		seq_did_truncate(s->m, model(s, 0), s->n[0]);
	return err;
}

static int do_write(struct step *s)
{
	return with_file(s, write_file);
}

static int do_fallocate(struct step *s)
{
	return with_file(s, fallocate_file);
}

static int do_unshare(struct step *s)
{
	return with_file(s, unshare_file);
}

/* ---- names ---- */

static int do_make(struct step *s)
{
	struct vfs_attr a;
	int err;

	if (s->ino[0])
		return -EEXIST;
	if (is(s, "creat"))
		err = vfs_create(s->fs, s->dir[0], s->name[0], 0644, &fx_root, 0, &a, NULL);
	else if (is(s, "mkdir"))
		err = vfs_mkdir(s->fs, s->dir[0], s->name[0], 0755, &fx_root, &a);
	else
		err = vfs_symlink(s->fs, s->dir[0], s->name[0], "where/it/leads", &fx_root, &a);
	if (!err && s->m && S_ISREG(a.mode))
		seq_file(s->m, a.ino);
	return forgotten(s, err, &a);
}

/* What takes another's place has its content on the device first. */
static void installed(struct step *s, int k)
{
	struct seq_file *f = model(s, k);

	if (f && s->ino[0] != s->ino[1])
		f->installed |= 1u << s->m->step;
}

static int do_rename(struct step *s)
{
	bool exchange = is(s, "exchange");
	int err = !s->ino[0] ? -ENOENT
			     : vfs_rename(s->fs, s->dir[0], s->name[0], s->dir[1], s->name[1],
					  exchange ? RENAME_EXCHANGE : 0);

	if (err)
		return err;
	if (s->ino[1])
		installed(s, 0);
	if (exchange)
		installed(s, 1);
	named(s, 1, 0);
	return named(s, 0, 0);
}

static int do_link(struct step *s)
{
	struct vfs_attr a;

	if (!s->ino[0])
		return -ENOENT;
	return named(s, 0, forgotten(s, vfs_link(s->fs, s->ino[0], s->dir[1], s->name[1], &a), &a));
}

static int do_unlink(struct step *s)
{
	return named(s, 0, vfs_unlink(s->fs, s->dir[0], s->name[0]));
}

static int do_rmdir(struct step *s)
{
	return vfs_rmdir(s->fs, s->dir[0], s->name[0]);
}

/* ---- attributes ---- */

static int do_chattr(struct step *s)
{
	struct vfs_attr a = { .mode = (mode_t)s->n[0], .uid = 1000, .gid = 1000 };
	unsigned int what = is(s, "chmod") ? VFS_SET_MODE : VFS_SET_UID | VFS_SET_GID;

	if (!s->ino[0])
		return -ENOENT;
	return named(s, 0, vfs_setattr(s->fs, s->ino[0], what, &a, &fx_root, &a));
}

static int do_xattr(struct step *s)
{
	uint8_t value[8192];
	int err;

	if (!s->ino[0] || s->n[0] > sizeof(value))
		return -ENOENT;
	memset(value, (int)nr_of(s) + 1, sizeof(value));
	err = is(s, "setxattr")
		      ? vfs_setxattr(s->fs, s->ino[0], "user.t", value, s->n[0], 0, &fx_root)
		      : vfs_removexattr(s->fs, s->ino[0], "user.t", &fx_root);
	return named(s, 0, err);
}

/* ---- what makes it last ---- */

static int sync_file(struct step *s, struct vfs_file *f)
{
	bool datasync = is(s, "fdatasync");
	int err = vfs_fsync(s->fs, f, datasync);

	if (!err && s->m)
		seq_did_sync(s->m, model(s, 0), datasync);
	return err;
}

static int do_fsync(struct step *s)
{
	int err;

	if (!s->ino[0])
		return -ENOENT;
	if (!S_ISDIR(s->mode[0]))
		return with_file(s, sync_file);
	err = vfs_fsyncdir(s->fs, s->ino[0]);
	if (!err && s->m)
		seq_did_sync_names(s->m);
	return err;
}

static int do_sync(struct step *s)
{
	int err = vfs_sync(s->fs);

	if (!err && s->m)
		seq_did_sync_all(s->m);
	return err;
}

/* As the flusher does: nothing is promised. */
static int do_writeback(struct step *s)
{
	return pagecache_sync(s->fs->pagecache, true);
}

/* As the journal's thread does. */
static int do_commit(struct step *s)
{
	return journal_commit_all(s->fs);
}

/* ---- text ---- */

/* Where path @k leads, now. */
static int look_up(struct step *s, int k)
{
	char *slash = strrchr(s->path[k], '/');
	struct vfs_attr a;
	int err;

	s->dir[k] = TFS_INO_ROOT;
	s->name[k] = slash ? slash + 1 : s->path[k];
	if (slash) {
		*slash = '\0';
		err = vfs_lookup(s->fs, TFS_INO_ROOT, s->path[k], &a);
		if (forgotten(s, err, &a))
			return err;
		s->dir[k] = a.ino;
	}
	if (!*s->name[k])
		return 0;
	err = vfs_lookup(s->fs, s->dir[k], s->name[k], &a);
	if (!forgotten(s, err, &a)) {
		s->ino[k] = a.ino;
		s->mode[k] = a.mode;
	}
	return err == -ENOENT ? 0 : err;
}

static const struct verb {
	const char *word;
	int (*fn)(struct step *s);
} verbs[] = {
	{ "creat", do_make },	       { "mkdir", do_make },	  { "symlink", do_make },
	{ "rmdir", do_rmdir },	       { "link", do_link },	  { "unlink", do_unlink },
	{ "rename", do_rename },       { "exchange", do_rename }, { "chmod", do_chattr },
	{ "chown", do_chattr },	       { "setxattr", do_xattr },  { "removexattr", do_xattr },
	{ "write", do_write },	       { "append", do_write },	  { "store", do_write },
	{ "truncate", do_truncate },   { "punch", do_fallocate }, { "zero", do_fallocate },
	{ "falloc", do_fallocate },    { "copy", do_copy },	  { "unshare", do_unshare },
	{ "fsync", do_fsync },	       { "fdatasync", do_fsync }, { "sync", do_sync },
	{ "writeback", do_writeback }, { "commit", do_commit },
};

static const struct verb *find_verb(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(verbs[i].word, word))
			return &verbs[i];
	return NULL;
}

/* "write,direct,sync" */
static bool parse_how(struct step *s, char *how)
{
	char *save, *flag;

	s->word = how ? strtok_r(how, ",", &save) : NULL;
	while (s->word && (flag = strtok_r(NULL, ",", &save))) {
		bool *is_set = !strcmp(flag, "keep")	 ? &s->keep
			       : !strcmp(flag, "direct") ? &s->direct
			       : !strcmp(flag, "sync")	 ? &s->sync
			       : !strcmp(flag, "dsync")	 ? &s->dsync
							 : NULL;

		if (!is_set)
			return false;
		*is_set = true;
	}
	return s->word;
}

/* Its words: paths and numbers, in order. */
static bool parse(struct step *s, char *text)
{
	char *save, *word, *how = strtok_r(text, " ", &save);
	int paths = 0, numbers = 0;

	while (how && (word = strtok_r(NULL, " ", &save))) {
		if (*word >= '0' && *word <= '9' && numbers < 3)
			s->n[numbers++] = strtoull(word, NULL, 0);
		else if (paths < 2 && strlen(word) < PATH_BYTES)
			strcpy(s->path[paths++], word);
		else
			return false;
	}
	return s->n[0] <= SEQ_BYTES && s->n[1] <= SEQ_BYTES && s->n[2] <= SEQ_BYTES &&
	       parse_how(s, how);
}

int seq_step(struct tfs_fs *fs, struct seq_model *m, const char *text)
{
	struct step s = { .fs = fs, .m = m };
	const struct verb *verb;
	char copy[SEQ_TEXT];

	snprintf(copy, sizeof(copy), "%s", text);
	verb = parse(&s, copy) ? find_verb(s.word) : NULL;
	if (!verb)
		return -1;
	return look_up(&s, 0) || look_up(&s, 1) || verb->fn(&s);
}
