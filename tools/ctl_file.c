/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tallyctl extents and unshare: what concerns one file. */
#include "common/cli.h"
#include "common/explain.h"
#include "core/lib/text.h"
#include "fs/inode/extent.h"
#include "tallyfs/ctl.h"
#include "tools/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail_errno(const char *path)
{
	switch (errno) {
	case ENOTTY:
		return ctl_fail(path, "is not on a mounted tallyfs");
	case EPROTO:
		return ctl_fail(path, "tallyctl and the running tallyfs are of different versions");
	default:
		return ctl_fail(path, explain_path(-errno));
	}
}

/* A regular file, all of which the daemon knows; -1 after a line on stderr. */
static int open_file(const char *path, int flags, uint64_t *size)
{
	/* a FIFO would wait for its other end */
	int fd = open(path, flags | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) || (S_ISREG(st.st_mode) && fsync(fd))) {
		fail_errno(path);
	} else if (!S_ISREG(st.st_mode)) {
		ctl_fail(path, "is not a regular file");
	} else {
		*size = (uint64_t)st.st_size;
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

int ctl_unshare(const struct ctl_request *r)
{
	struct tally_range range = { .len = UINT64_MAX };
	int code = CTL_OK;
	uint64_t size;
	int fd = open_file(r->target, O_RDWR, &size);

	if (fd < 0)
		return CTL_FAIL;
	do {
		if (ioctl(fd, TALLY_IOC_UNSHARE, &range))
			code = fail_errno(r->target);
	} while (code == CTL_OK && range.len);
	if (code == CTL_OK && fsync(fd))
		code = fail_errno(r->target);
	close(fd);
	return code;
}

/* ---- extents ---- */

static const struct {
	uint32_t flag;
	const char *name;
} flag_names[] = {
	{ TALLY_EXTENT_UNWRITTEN, "unwritten" },
	{ TALLY_EXTENT_SHARED, "shared" },
	{ TALLY_EXTENT_INLINE, "inline" },
};
#define NR_FLAGS (sizeof(flag_names) / sizeof(flag_names[0]))

static void print_extent(const struct tally_extent *x)
{
	char addr[24] = "-", flags[64] = "";

	if (!(x->flags & (TALLY_EXTENT_INLINE | TALLY_EXTENT_NO_ADDR)))
		snprintf(addr, sizeof(addr), "%llu", (unsigned long long)x->addr);
	for (size_t i = 0; i < NR_FLAGS; i++)
		if (x->flags & flag_names[i].flag)
			strcat(strcat(flags, " "), flag_names[i].name);
	text_out("%20llu %20llu %20s%s", (unsigned long long)x->start, (unsigned long long)x->len,
		 addr, flags);
}

static void add_extent(struct json_object *list, const struct tally_extent *x)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "start", json_object_new_uint64(x->start));
	json_object_object_add(o, "length", json_object_new_uint64(x->len));
	if (!(x->flags & (TALLY_EXTENT_INLINE | TALLY_EXTENT_NO_ADDR)))
		json_object_object_add(o, "address", json_object_new_uint64(x->addr));
	for (size_t i = 0; i < NR_FLAGS; i++)
		json_object_object_add(o, flag_names[i].name,
				       json_object_new_boolean(x->flags & flag_names[i].flag));
	json_object_array_add(list, o);
}

/* Every page of extents; @list NULL: print them. */
static int each_page(int fd, const char *path, struct json_object *list)
{
	struct tally_extents te = { .version = TALLY_CTL_VERSION };
	bool first = true;

	do {
		if (ioctl(fd, TALLY_IOC_EXTENTS, &te))
			return fail_errno(path);
		if (first && !list && te.nr)
			text_out("%20s %20s %20s", "start", "length", "address");
		first = false;
		for (uint32_t i = 0; i < te.nr && i < TALLY_EXTENTS_MAX; i++) {
			const struct tally_extent *x = &te.extent[i];

			if (list)
				add_extent(list, x);
			else
				print_extent(x);
			te.start = x->start + x->len;
		}
	} while (te.nr == TALLY_EXTENTS_MAX);
	return CTL_OK;
}

int ctl_extents(const struct ctl_request *r)
{
	struct json_object *o = NULL, *list = NULL;
	uint64_t size;
	int fd = open_file(r->target, O_RDONLY, &size), code;

	if (fd < 0)
		return CTL_FAIL;
	if (r->json) {
		o = cli_json_begin("extents");
		cli_json_path(o, "path", r->target, strlen(r->target));
		json_object_object_add(o, "size", json_object_new_uint64(size));
		list = json_object_new_array();
		json_object_object_add(o, "extents", list);
	}
	code = each_page(fd, r->target, list);
	if (o && code == CTL_OK)
		cli_json_end(o);
	else
		json_object_put(o);
	close(fd);
	return code;
}
