/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One thing done to every entry of a directory:  dirops create|list|stat|rename|remove DIRECTORY N
 *
 * Prints the seconds it took, by the clock.  For dirscale.py: as little of our own between the
 * system calls as can be.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char *phase;
static int dir;

static void die(const char *what)
{
	fprintf(stderr, "dirops: %s: ", phase);
	perror(what);
	exit(1);
}

/* Names in no order that means anything, as those of mail or of a cache. */
static void name_of(char *buf, char first, unsigned long k)
{
	snprintf(buf, 32, "%c%08x-%lu", first, (unsigned int)(k * 2654435761u), k);
}

static void create(unsigned long k)
{
	char name[32];
	int fd;

	name_of(name, 'f', k);
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL, 0644);
	if (fd < 0)
		die(name);
	close(fd);
}

static void stat_one(unsigned long k)
{
	char name[32];
	struct stat st;

	name_of(name, 'f', k);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
		die(name);
}

static void rename_one(unsigned long k)
{
	char name[32], new_name[32];

	name_of(name, 'f', k);
	name_of(new_name, 'r', k);
	if (renameat(dir, name, dir, new_name))
		die(name);
}

static void remove_one(unsigned long k)
{
	char name[32];

	name_of(name, 'r', k);
	if (unlinkat(dir, name, 0))
		die(name);
}

struct kernel_dirent {
	uint64_t ino, off;
	unsigned short len;
	unsigned char type;
	char name[];
};

static unsigned long list(void)
{
	static char buf[128 << 10] __attribute__((aligned(8)));
	unsigned long found = 0;
	long n, at;

	while ((n = syscall(SYS_getdents64, dir, buf, sizeof(buf))) > 0) {
		for (at = 0; at < n; found++)
			at += ((struct kernel_dirent *)(buf + at))->len;
	}
	if (n < 0)
		die("getdents64");
	return found - 2;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*one)(unsigned long k);
	} all[] = { { "create", create },
		    { "list", NULL },
		    { "stat", stat_one },
		    { "rename", rename_one },
		    { "remove", remove_one } };
	unsigned long n = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;
	unsigned int i = 0;
	double began;

	while (argc == 4 && i < 5 && strcmp(argv[1], all[i].name))
		i++;
	if (!n || i == 5) {
		fprintf(stderr, "usage: dirops create|list|stat|rename|remove DIRECTORY N\n");
		return 2;
	}
	phase = argv[1];
	dir = open(argv[2], O_RDONLY | O_DIRECTORY);
	if (dir < 0)
		die(argv[2]);
	began = now();
	for (unsigned long k = 0; all[i].one && k < n; k++)
		all[i].one(k);
	if (!all[i].one && list() != n) {
		fprintf(stderr, "dirops: list: not %lu entries\n", n);
		return 1;
	}
	printf("%.6f\n", now() - began);
	return 0;
}
