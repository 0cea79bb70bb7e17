/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "core/lib/util.h"
#include "tests/exercise/differ.h"

static unsigned char buf[MAX_LEN];

static int64_t status(int64_t n)
{
	return n < 0 ? -errno : n;
}

static void fill(unsigned char *p, size_t len, int64_t pattern)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (unsigned char)((uint64_t)pattern * 97 + i * 131 + (i >> 8));
}

static int64_t got(int64_t n, struct result *r)
{
	if (n > 0)
		result_bytes(r, buf, (size_t)n);
	return status(n);
}

/* SEEK_DATA and SEEK_HOLE are not to move the next read to where only one of them is; and
 * positions in directories are the file system's own. */
static int64_t do_lseek(int fd, off_t pos, int whence)
{
	off_t before, at;
	struct stat st;
	int err;

	if (!fstat(fd, &st) && S_ISDIR(st.st_mode))
		return -EISDIR;
	before = lseek(fd, 0, SEEK_CUR);
	at = lseek(fd, pos, whence);
	err = errno;
	if (at >= 0 && (whence == SEEK_DATA || whence == SEEK_HOLE))
		lseek(fd, before, SEEK_SET);
	return at < 0 ? -err : at;
}

/* Inside the file only: behind its end there is a signal, or what another mapping left. */
static int64_t do_mmap(int fd, const struct op *op, struct result *r)
{
	size_t pos = (size_t)op->arg[2] % MAX_POS, len = (size_t)op->arg[3] % MAX_LEN;
	size_t before = pos % 4096;
	bool store = op->arg[4];
	struct stat st;
	unsigned char *map;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || (off_t)(pos + len) > st.st_size || !len)
		return -ENXIO;
	map = mmap(NULL, before + len, store ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd,
		   (off_t)(pos - before));
	if (map == MAP_FAILED)
		return -errno;
	if (store)
		fill(map + before, len, op->arg[4]);
	result_bytes(r, map + before, len);
	return status(munmap(map, before + len));
}

static int64_t do_copy(const struct op *op)
{
	off_t from = op->arg[2], to = op->arg[4];

	return status(copy_file_range(differ_slots[op->arg[1] % SLOTS], &from,
				      differ_slots[op->arg[3] % SLOTS], &to,
				      (size_t)op->arg[5] % MAX_LEN, 0));
}

/* Not to the size it has, see differ_meant.c. */
static int64_t do_truncate(const char *path, off_t size)
{
	struct stat st;

	if (!stat(path, &st) && S_ISREG(st.st_mode) && st.st_size == size)
		return 0;
	return status(truncate(path, size));
}

void differ_do_content(const struct op *op, struct result *r)
{
	int fd = differ_slots[op->arg[1] % SLOTS];
	const int64_t *a = op->arg;
	char path[DIFFER_PATH];

	switch ((enum kind)op->kind) {
	case OP_TRUNCATE:
		r->ret = do_truncate(differ_path(a[1], path), a[2]);
		break;
	case OP_FTRUNCATE:
		r->ret = status(ftruncate(fd, a[2]));
		break;
	case OP_FALLOCATE:
		r->ret = status(fallocate(fd, (int)a[2], a[3], a[4]));
		break;
	case OP_PREAD:
		r->ret = got(pread(fd, buf, (size_t)a[3] % MAX_LEN, a[2]), r);
		break;
	case OP_PWRITE:
		fill(buf, (size_t)a[3] % MAX_LEN, a[4]);
		r->ret = status(pwrite(fd, buf, (size_t)a[3] % MAX_LEN, a[2]));
		break;
	case OP_READ:
		r->ret = got(read(fd, buf, (size_t)a[2] % MAX_LEN), r);
		break;
	case OP_WRITE:
		fill(buf, (size_t)a[2] % MAX_LEN, a[3]);
		r->ret = status(write(fd, buf, (size_t)a[2] % MAX_LEN));
		break;
	case OP_MMAP:
		r->ret = do_mmap(fd, op, r);
		break;
	case OP_LSEEK:
		r->ret = do_lseek(fd, a[2], (int)a[3]);
		break;
	case OP_COPY:
		r->ret = do_copy(op);
		break;
	default:
		r->ret = status(a[2] ? fdatasync(fd) : fsync(fd));
	}
}
