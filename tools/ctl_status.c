/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tallyctl status: a mount's counters, or an image's superblock. */
#include "tools/ctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include "core/text.h"
#include "fs/fs.h"
#include "tallyfs/ctl.h"
#include "tools/cli.h"
#include "tools/explain.h"

/* A figure above 0 under one of these names means that damage is known. */
static bool tells_damage(const char *group, const char *name)
{
	return !strcmp(group, "damage") || !strcmp(name, "mismatches") || !strcmp(name, "needs_check") ||
	       (!strcmp(group, "state") && !strcmp(name, "error"));
}

/* ---- of a mount ---- */

/* All of the status text; NULL after a line on stderr. */
static char *fetch(int fd, const char *path)
{
	struct tally_status *st = calloc(1, sizeof(*st));
	char *text = calloc(1, 1);
	size_t len = 0;

	if (!st || !text)
		goto no_memory;
	do {
		char *more;

		st->version = TALLY_CTL_VERSION;
		if (ioctl(fd, TALLY_IOC_STATUS, st)) {
			ctl_fail(path, errno == EPROTO ? "tallyctl and the running tallyfs are of different versions"
						       : explain_path(-errno));
			goto fail;
		}
		more = realloc(text, len + st->len + 1);
		if (!more)
			goto no_memory;
		text = more;
		memcpy(text + len, st->text, st->len);
		len += st->len;
		text[len] = '\0';
		st->first += st->lines;
	} while (st->lines && st->first < st->total);
	free(st);
	return text;
no_memory:
	ctl_fail(path, strerror(ENOMEM));
fail:
	free(st);
	free(text);
	return NULL;
}

struct figures {
	struct json_object *json; /* NULL: print for people */
	bool damage;
	char group[64]; /* last seen */
};

static void one_figure(struct figures *f, const char *group, const char *name, unsigned long long value)
{
	struct json_object *o;

	if (value && tells_damage(group, name))
		f->damage = true;
	if (!f->json) {
		if (strcmp(f->group, group))
			text_out("%s", group);
		text_out("  %-28s %llu", name, value);
	} else {
		if (!json_object_object_get_ex(f->json, group, &o)) {
			o = json_object_new_object();
			json_object_object_add(f->json, group, o);
		}
		json_object_object_add(o, name, json_object_new_uint64(value));
	}
	snprintf(f->group, sizeof(f->group), "%s", group);
}

static void all_figures(struct figures *f, char *text)
{
	char *save, *line;

	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *dot = strchr(line, '.'), *space = dot ? strchr(dot, ' ') : NULL;

		if (!space)
			continue;
		*dot = *space = '\0';
		one_figure(f, line, dot + 1, strtoull(space + 1, NULL, 10));
	}
}

static void space_of(const char *path, struct json_object *json)
{
	struct statvfs st;
	uint64_t size, avail;
	char a[32], b[32];

	if (statvfs(path, &st))
		return;
	size = (uint64_t)st.f_blocks * st.f_frsize;
	avail = (uint64_t)st.f_bavail * st.f_frsize;
	if (json) {
		json_object_object_add(json, "size_bytes", json_object_new_uint64(size));
		json_object_object_add(json, "available_bytes", json_object_new_uint64(avail));
	} else {
		text_out("%s, %s available", cli_size(size, a, sizeof(a)), cli_size(avail, b, sizeof(b)));
	}
}

static int status_of_mount(const struct ctl_request *r)
{
	struct figures f = { 0 };
	struct mount_entry m;
	int fd = ctl_open_mount(r->target, &m);
	char *text;

	if (fd < 0)
		return CTL_FAIL;
	text = fetch(fd, r->target);
	close(fd);
	if (!text)
		return CTL_FAIL;
	if (r->json) {
		f.json = cli_json_begin("status");
		cli_json_path(f.json, "source", m.source, strlen(m.source));
		cli_json_path(f.json, "mountpoint", m.mountpoint, strlen(m.mountpoint));
		json_object_object_add(f.json, "type", json_object_new_string(m.type));
		json_object_object_add(f.json, "read_only", json_object_new_boolean(m.read_only));
	} else {
		text_out("%s on %s (%s%s)", m.source, m.mountpoint, m.type, m.read_only ? ", read-only" : "");
	}
	space_of(m.mountpoint, f.json);
	all_figures(&f, text);
	if (f.json) {
		json_object_object_add(f.json, "damage_known", json_object_new_boolean(f.damage));
		cli_json_end(f.json);
	} else {
		text_out("%s",
			 f.damage ? "damage was seen: the log names it; unmounted, fsck.tallyfs -n --verify-data does"
				  : "no damage is known");
	}
	free(text);
	return r->check && f.damage ? CTL_DAMAGE : CTL_OK;
}

/* ---- of an image ---- */

static void image_json(const struct ctl_request *r, const struct tfs_super *s, const char *label, const char *uuid,
		       bool damage)
{
	struct json_object *o = cli_json_begin("status");

	cli_json_path(o, "source", r->target, strlen(r->target));
	cli_json_path(o, "label", label, strlen(label));
	json_object_object_add(o, "uuid", json_object_new_string(uuid));
	json_object_object_add(o, "guard",
			       json_object_new_string(le32_get(s->guard) == TFS_GUARD_XXH3 ? "xxh3" : "crc32"));
	json_object_object_add(o, "block_size", json_object_new_uint64(le32_get(s->block_size)));
	json_object_object_add(o, "size_bytes",
			       json_object_new_uint64(le64_get(s->total_blocks) * le32_get(s->block_size)));
	json_object_object_add(o, "free_bytes",
			       json_object_new_uint64(le64_get(s->free_blocks) * le32_get(s->block_size)));
	json_object_object_add(o, "inodes", json_object_new_uint64(le64_get(s->nr_inodes)));
	json_object_object_add(o, "mount_count", json_object_new_uint64(le64_get(s->mount_count)));
	json_object_object_add(o, "mismatches", json_object_new_uint64(le64_get(s->mismatches)));
	json_object_object_add(o, "damage_known", json_object_new_boolean(damage));
	cli_json_end(o);
}

static void image_text(const struct ctl_request *r, const struct tfs_super *s, const char *label, const char *uuid,
		       bool damage)
{
	uint64_t bs = le32_get(s->block_size);
	char a[32], b[32];

	text_out("%s (not mounted)", r->target);
	text_out("  label       %s", label[0] ? label : "(none)");
	text_out("  uuid        %s", uuid);
	text_out("  guard       %s", le32_get(s->guard) == TFS_GUARD_XXH3 ? "xxh3" : "crc32");
	text_out("  block size  %u", (unsigned int)bs);
	text_out("  size        %s, %s free", cli_size(le64_get(s->total_blocks) * bs, a, sizeof(a)),
		 cli_size(le64_get(s->free_blocks) * bs, b, sizeof(b)));
	text_out("  inodes      %llu", (unsigned long long)le64_get(s->nr_inodes));
	text_out("  mounted     %llu times", (unsigned long long)le64_get(s->mount_count));
	text_out("  mismatches  %llu", (unsigned long long)le64_get(s->mismatches));
	text_out("%s", damage ? "damage was seen: fsck.tallyfs -n --verify-data says what is damaged now"
			      : "no damage is known");
}

static int status_of_image(const struct ctl_request *r)
{
	char why[256] = "", label[TFS_LABEL_MAX + 1] = "", uuid[UUID_STR_LEN];
	struct tfs_super s;
	struct tfs_geom g;
	struct bdev *b;
	bool damage;
	int err;

	err = bdev_open(r->target, BDEV_OPEN_RDONLY | BDEV_OPEN_BUFFERED | BDEV_OPEN_WAIT, &b);
	if (err)
		return ctl_fail(r->target, err == -EBUSY     ? "in use: ask for the status of its mount point"
					   : err == -ENOTBLK ? "neither a tallyfs mount point nor a device or file"
							     : bdev_open_error(err));
	err = tfs_super_read(b, -1, &s, &g, why, sizeof(why));
	bdev_close(b);
	if (err)
		return ctl_fail(r->target, why[0] ? why : strerror(-err));
	memcpy(label, s.label, TFS_LABEL_MAX);
	uuid_unparse(s.uuid, uuid);
	damage = le64_get(s.mismatches) || (le32_get(s.state) & TFS_STATE_ERRORS);
	if (r->json)
		image_json(r, &s, label, uuid, damage);
	else
		image_text(r, &s, label, uuid, damage);
	return r->check && damage ? CTL_DAMAGE : CTL_OK;
}

int ctl_status(const struct ctl_request *r)
{
	struct stat st;

	if (stat(r->target, &st))
		return ctl_fail(r->target, explain_path(-errno));
	return S_ISDIR(st.st_mode) ? status_of_mount(r) : status_of_image(r);
}
