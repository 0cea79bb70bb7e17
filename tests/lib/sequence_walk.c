/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All there is to see of a mounted file system, as text and as hashes of blocks. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/block/guard.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"
#include "tests/lib/sequence_priv.h"

#define TEXT_MAX 8192
#define ENTRIES 24
#define NAME_BYTES 64
#define DEPTH 6

struct walk {
	struct tfs_fs *fs;
	struct seq_state *st;
	uint32_t block_size;
	bool content;
	size_t len;
	char text[TEXT_MAX];
};

struct listing {
	char name[ENTRIES][NAME_BYTES];
	unsigned int nr;
};

static void wrong(struct walk *w, const char *path, const char *what, int err)
{
	if (!w->st->wrong[0])
		snprintf(w->st->wrong, sizeof(w->st->wrong), "%s: %s: %s", path, what,
			 strerror(-err));
}

static void put(struct walk *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct walk *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	w->len += (size_t)vsnprintf(w->text + w->len, sizeof(w->text) - w->len, fmt, ap);
	va_end(ap);
	FX_CHECK(w->len < sizeof(w->text));
}

uint64_t seq_block_hash(const uint8_t *block, uint32_t block_size)
{
	return guard_xxh3(block, block_size, 3);
}

static int64_t ns_of(struct timespec ts)
{
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

static void put_xattrs(struct walk *w, const char *path, uint64_t ino)
{
	char list[512], value[8192];
	int n = vfs_listxattr(w->fs, ino, list, sizeof(list)), len;

	if (n < 0) {
		wrong(w, path, "listxattr", n);
		return;
	}
	for (char *name = list; name < list + n; name += strlen(name) + 1) {
		len = vfs_getxattr(w->fs, ino, name, value, sizeof(value));
		if (len < 0)
			wrong(w, path, "getxattr", len);
		else
			put(w, " %s=%d:%llx", name, len,
			    (unsigned long long)guard_xxh3(value, (size_t)len, 5));
	}
}

static void read_blocks(struct walk *w, const char *path, struct seq_stat *s)
{
	static _Thread_local uint8_t buf[SEQ_BYTES];
	struct vfs_file *f;
	int64_t n;
	int err = vfs_open(w->fs, s->ino, O_RDONLY, &f);

	if (err) {
		wrong(w, path, "open", err);
		return;
	}
	n = vfs_pread(w->fs, f, buf, sizeof(buf), 0);
	if (n < 0)
		wrong(w, path, "read", (int)n);
	else if ((uint64_t)n != s->size)
		wrong(w, path, "read: less than there is", -EIO);
	vfs_release(w->fs, f);
	if (n < 0)
		return;
	s->nr_blocks = (unsigned int)div_up((uint64_t)n, w->block_size);
	memset(buf + n, 0, (size_t)s->nr_blocks * w->block_size - (size_t)n);
	for (unsigned int b = 0; b < s->nr_blocks; b++)
		s->hash[b] = seq_block_hash(buf + (size_t)b * w->block_size, w->block_size);
}

static void add_file(struct walk *w, const char *path, const struct vfs_attr *a)
{
	struct seq_state *st = w->st;
	struct seq_stat *s;

	for (unsigned int i = 0; i < st->nr_files; i++)
		if (st->file[i].ino == a->ino)
			return;
	FX_CHECK(st->nr_files < SEQ_FILES);
	s = &st->file[st->nr_files++];
	*s = (struct seq_stat){
		.ino = a->ino, .size = a->size, .mtime = ns_of(a->mtime), .ctime = ns_of(a->ctime)
	};
	if (a->size > SEQ_BYTES)
		wrong(w, path, "size", -EFBIG);
	else if (w->content)
		read_blocks(w, path, s);
}

static void put_entry(struct walk *w, const char *path, const struct vfs_attr *a)
{
	char target[300] = "";
	int n;

	put(w, "%s %o links %u owner %u:%u inode %llu", path, a->mode, a->nlink, a->uid, a->gid,
	    (unsigned long long)a->ino);
	if (S_ISREG(a->mode))
		add_file(w, path, a);
	else
		put(w, " size %llu mtime %lld ctime %lld", (unsigned long long)a->size,
		    (long long)ns_of(a->mtime), (long long)ns_of(a->ctime));
	if (S_ISLNK(a->mode)) {
		n = vfs_readlink(w->fs, a->ino, target, sizeof(target) - 1);
		if (n < 0)
			wrong(w, path, "readlink", n);
		put(w, " -> %s", target);
	}
	put_xattrs(w, path, a->ino);
	put(w, "\n");
}

static bool list_one(void *arg, const struct vfs_dirent *de)
{
	struct listing *l = arg;

	if ((de->len == 1 && de->name[0] == '.') || (de->len == 2 && !memcmp(de->name, "..", 2)))
		return true;
	FX_CHECK(l->nr < ENTRIES && de->len < NAME_BYTES);
	memcpy(l->name[l->nr], de->name, de->len);
	l->name[l->nr++][de->len] = '\0';
	return true;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void walk_dir(struct walk *w, uint64_t dir, const char *path, unsigned int depth)
{
	struct listing l = { 0 };
	char child[DEPTH * NAME_BYTES];
	struct vfs_attr a;
	int err = vfs_readdir(w->fs, dir, 0, list_one, &l);

	if (err || depth == DEPTH)
		wrong(w, path, "readdir", err ? err : -ELOOP);
	qsort(l.name, l.nr, NAME_BYTES, by_name);
	for (unsigned int i = 0; i < l.nr && !w->st->wrong[0]; i++) {
		snprintf(child, sizeof(child), "%.*s/%s", (int)(depth * NAME_BYTES), path,
			 l.name[i]);
		err = vfs_lookup(w->fs, dir, l.name[i], &a);
		if (err) {
			wrong(w, child, "lookup", err);
			break;
		}
		put_entry(w, child, &a);
		if (S_ISDIR(a.mode))
			walk_dir(w, a.ino, child, depth + 1);
		vfs_forget(w->fs, a.ino, 1);
	}
}

void seq_walk(struct seq_state *st, struct tfs_fs *fs, uint32_t block_size, bool content)
{
	struct walk w = { .fs = fs, .st = st, .block_size = block_size, .content = content };
	struct vfs_attr root;
	int err = vfs_getattr(fs, TFS_INO_ROOT, &root);

	st->nr_files = 0;
	st->wrong[0] = '\0';
	if (err)
		wrong(&w, "/", "getattr", err);
	else
		put_entry(&w, "/", &root);
	walk_dir(&w, TFS_INO_ROOT, "", 0);
	st->names = strdup(w.text);
	FX_CHECK(st->names);
}

void seq_state_drop(struct seq_state *st)
{
	free(st->names);
	st->names = NULL;
}
