/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The exercisers against a mounted file system (any):
 *
 *   exercise files|names DIRECTORY SEED OPERATIONS [REMOUNT-EVERY]
 *   exercise files|names DIRECTORY --replay FILE [REMOUNT-EVERY]    the operations of a file
 *
 * Each run has a directory of its own below DIRECTORY.  One that fails is left there, and run again
 * with fewer operations, as long as that fails too; the shortest sequence is told, for --replay.
 * With REMOUNT-EVERY, about once in so many operations, and before each of these other runs, it has
 * everything closed, writes a line to stdout and waits for one on stdin: whoever started it
 * remounts meanwhile.  Exit 0: no difference; 1: one, told on stderr; 2: usage.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/lib/exercise_content.h"
#include "tests/lib/exercise_names.h"

#define FILES 3
#define MAX_SIZE 1000000
#define TOP_MAX 400 /* bytes; what is below has its share of PATH_MAX */
#define SHRINK_SECONDS 60

static const char *top;
static int fds[FILES];

static int64_t result(int64_t n)
{
	return n < 0 ? -errno : n;
}

static int status(int n)
{
	return n < 0 ? -errno : 0;
}

/* ---- files ---- */

static const char *file_name(unsigned int k)
{
	static char path[4200];

	snprintf(path, sizeof(path), "%s/file%u", top, k);
	return path;
}

static int open_all(void)
{
	unsigned int k;

	for (k = 0; k < FILES; k++) {
		fds[k] = open(file_name(k), O_RDWR | O_CREAT, 0600);
		if (fds[k] < 0)
			return -errno;
	}
	return 0;
}

/* close(2) tells of errors too. */
static int close_all(void)
{
	int err = 0;
	unsigned int k;

	for (k = 0; k < FILES; k++)
		if (close(fds[k]) && !err)
			err = -errno;
	return err;
}

static int64_t f_pwrite(void *be, unsigned int k, const void *buf, size_t len, uint64_t pos)
{
	return result(pwrite(fds[k], buf, len, (off_t)pos));
}

static int64_t f_pread(void *be, unsigned int k, void *buf, size_t len, uint64_t pos)
{
	return result(pread(fds[k], buf, len, (off_t)pos));
}

static int64_t f_append(void *be, unsigned int k, const void *buf, size_t len)
{
	int fd = open(file_name(k), O_WRONLY | O_APPEND);
	int64_t n;

	if (fd < 0)
		return -errno;
	n = result(write(fd, buf, len));
	return close(fd) ? -errno : n;
}

static int64_t mapped(unsigned int k, void *to, const void *from, size_t len, uint64_t pos)
{
	size_t before = pos % 4096;
	char *map = mmap(NULL, before + len, PROT_READ | PROT_WRITE, MAP_SHARED, fds[k],
			 (off_t)(pos - before));

	if (map == MAP_FAILED)
		return -errno;
	if (to)
		memcpy(to, map + before, len);
	else
		memcpy(map + before, from, len);
	return munmap(map, before + len) ? -errno : (int64_t)len;
}

static int64_t f_mwrite(void *be, unsigned int k, const void *buf, size_t len, uint64_t pos)
{
	return mapped(k, NULL, buf, len, pos);
}

static int64_t f_mread(void *be, unsigned int k, void *buf, size_t len, uint64_t pos)
{
	return mapped(k, buf, NULL, len, pos);
}

static int64_t f_copy(void *be, unsigned int from, uint64_t pos, unsigned int to, uint64_t to_pos,
		      size_t len)
{
	off_t a = (off_t)pos, b = (off_t)to_pos;

	return result(copy_file_range(fds[from], &a, fds[to], &b, len, 0));
}

static int f_truncate(void *be, unsigned int k, uint64_t size)
{
	return status(ftruncate(fds[k], (off_t)size));
}

static int f_fallocate(void *be, unsigned int k, int mode, uint64_t pos, uint64_t len)
{
	return status(fallocate(fds[k], mode, (off_t)pos, (off_t)len));
}

static int64_t f_seek(void *be, unsigned int k, uint64_t pos, int whence)
{
	return result(lseek(fds[k], (off_t)pos, whence));
}

static int64_t f_size(void *be, unsigned int k)
{
	struct stat st;

	return fstat(fds[k], &st) ? -errno : st.st_size;
}

static int f_fsync(void *be, unsigned int k, bool datasync)
{
	return status(datasync ? fdatasync(fds[k]) : fsync(fds[k]));
}

static int f_reopen(void *be, unsigned int k)
{
	if (close(fds[k]))
		return -errno;
	fds[k] = open(file_name(k), O_RDWR);
	return status(fds[k]);
}

static int f_drop(void *be)
{
	unsigned int k;

	for (k = 0; k < FILES; k++) {
		if (fsync(fds[k]))
			return -errno;
		posix_fadvise(fds[k], 0, 0, POSIX_FADV_DONTNEED);
	}
	return 0;
}

/* Over FUSE, fsync of the root directory is what reaches the file system. */
static int fsync_path(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY), err;

	if (fd < 0)
		return -errno;
	err = status(fsync(fd));
	close(fd);
	return err;
}

static int sync_all(void *be)
{
	return fsync_path(top);
}

static int ask_for_remount(void *be)
{
	char line[10];

	puts("remount");
	fflush(stdout);
	return fgets(line, sizeof(line), stdin) ? 0 : -EIO;
}

static int f_remount(void *be)
{
	int err = close_all();

	if (!err)
		err = ask_for_remount(be);
	return err ? err : open_all();
}

static const struct content_ops file_ops = {
	.pwrite = f_pwrite,
	.pread = f_pread,
	.append = f_append,
	.mwrite = f_mwrite,
	.mread = f_mread,
	.copy = f_copy,
	.truncate = f_truncate,
	.fallocate = f_fallocate,
	.seek = f_seek,
	.size = f_size,
	.fsync = f_fsync,
	.reopen = f_reopen,
	.drop_cache = f_drop,
	.sync = sync_all,
	.remount = f_remount,
};

/* ---- names ---- */

static const char *under_top(const char *path, int which)
{
	static char full[2][4200];

	snprintf(full[which], sizeof(full[0]), "%s%s", top, path);
	return full[which];
}

static int n_create(void *be, const char *path)
{
	int fd = open(under_top(path, 0), O_WRONLY | O_CREAT | O_EXCL, 0600);

	return fd < 0 ? -errno : status(close(fd));
}

static int n_mkdir(void *be, const char *path)
{
	return status(mkdir(under_top(path, 0), 0700));
}

static int n_symlink(void *be, const char *target, const char *path)
{
	return status(symlink(target, under_top(path, 0)));
}

static int n_link(void *be, const char *path, const char *new_path)
{
	return status(link(under_top(path, 0), under_top(new_path, 1)));
}

static int n_unlink(void *be, const char *path)
{
	return status(unlink(under_top(path, 0)));
}

static int n_rmdir(void *be, const char *path)
{
	return status(rmdir(under_top(path, 0)));
}

static int n_rename(void *be, const char *path, const char *new_path, unsigned int flags)
{
	return status(
		renameat2(AT_FDCWD, under_top(path, 0), AT_FDCWD, under_top(new_path, 1), flags));
}

static int n_stat(void *be, const char *path, struct names_stat *st)
{
	struct stat s;

	if (lstat(under_top(path, 0), &s))
		return -errno;
	*st = (struct names_stat){ .ino = s.st_ino,
				   .nlink = (unsigned int)s.st_nlink,
				   .type = (uint8_t)(s.st_mode >> 12) };
	return 0;
}

static int n_list_open(void *be, const char *path, void **list)
{
	*list = opendir(under_top(path, 0));
	return *list ? 0 : -errno;
}

static int n_list(void *be, void *list, unsigned int max, names_fill_fn *fill, void *arg)
{
	struct dirent *de;

	while (max--) {
		errno = 0;
		de = readdir(list);
		if (!de)
			return -errno;
		fill(arg, de->d_name, de->d_ino, de->d_type);
	}
	return 1;
}

static void n_list_close(void *be, void *list)
{
	closedir(list);
}

static int n_fsync_dir(void *be, const char *path)
{
	return fsync_path(under_top(path, 0));
}

static const struct names_ops name_ops = {
	.create = n_create,
	.mkdir = n_mkdir,
	.symlink = n_symlink,
	.link = n_link,
	.unlink = n_unlink,
	.rmdir = n_rmdir,
	.rename = n_rename,
	.stat = n_stat,
	.list_open = n_list_open,
	.list = n_list,
	.list_close = n_list_close,
	.fsync_dir = n_fsync_dir,
	.sync = sync_all,
	.remount = ask_for_remount,
};

/* ---- a run ---- */

struct run {
	const char *dir;
	bool files, by_hand; /* --replay */
	uint64_t seed, ops;
	unsigned int remount_every;
};

static int run_files(const struct run *r, const struct exercise_steps *steps)
{
	struct content_opts o = { .seed = r->seed,
				  .ops = r->ops,
				  .nr_files = FILES,
				  .max_size = MAX_SIZE,
				  .remount_every = r->remount_every,
				  .steps = *steps };
	int err = open_all();

	if (err) {
		fprintf(stderr, "exercise: %s: %s\n", top, strerror(-err));
		return -1;
	}
	err = exercise_content(&o, &file_ops, NULL);
	return close_all() ? -1 : err;
}

static int run_names(const struct run *r, const struct exercise_steps *steps)
{
	struct names_opts o = {
		.seed = r->seed, .ops = r->ops, .remount_every = r->remount_every, .steps = *steps
	};

	return exercise_names(&o, &name_ops, NULL);
}

static int remove_one(const char *path, const struct stat *st, int what, struct FTW *at)
{
	return remove(path);
}

/*
 * In a directory of its own.  What cannot begin is no failure of a run that is to be shorter: a
 * mount that has ended says nothing about that.
 */
static int run(void *arg, const struct exercise_steps *steps)
{
	const struct run *r = arg;
	char dir[TOP_MAX + 20];
	int err = steps->replay && r->remount_every ? ask_for_remount(NULL) : 0;

	snprintf(dir, sizeof(dir), "%s/run-XXXXXX", r->dir);
	if (err || !mkdtemp(dir)) {
		fprintf(stderr, "exercise: %s: %s\n", dir, strerror(err ? -err : errno));
		return steps->replay && !r->by_hand ? 0 : -1;
	}
	top = dir;
	err = r->files ? run_files(r, steps) : run_names(r, steps);
	if (steps->replay)
		nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return err;
}

static int replay(struct run *r, const char *path)
{
	struct oplist l = { 0 };
	int err = oplist_load(&l, path);

	r->by_hand = true;
	if (!err)
		err = run(r, &(struct exercise_steps){ .replay = &l });
	oplist_free(&l);
	return err;
}

int main(int argc, char **argv)
{
	struct run r = { .files = argc > 1 && !strcmp(argv[1], "files") };
	bool names = argc > 1 && !strcmp(argv[1], "names");
	int err;

	if (argc < 5 || argc > 6 || r.files == names || strlen(argv[2]) > TOP_MAX) {
		fprintf(stderr,
			"usage: exercise files|names DIRECTORY SEED OPERATIONS|--replay FILE "
			"[REMOUNT-EVERY]\n");
		return 2;
	}
	r.dir = argv[2];
	r.remount_every = argc > 5 ? (unsigned int)atoi(argv[5]) : 0;
	if (!strcmp(argv[3], "--replay"))
		return replay(&r, argv[4]) ? 1 : 0;
	r.seed = strtoull(argv[3], NULL, 0);
	r.ops = strtoull(argv[4], NULL, 0);
	err = exercise_shortest(run, &r, r.seed, r.ops, SHRINK_SECONDS, NULL);
	return err ? 1 : 0;
}
