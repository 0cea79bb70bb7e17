/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tallyctl status: how a mounted file system or an image is, in a few lines; with -v what the
 * daemon counts. */
#include "common/cli.h"
#include "common/explain.h"
#include "core/block/bdev.h"
#include "core/lib/text.h"
#include "fs/disk/geom.h"
#include "fs/disk/super.h"
#include "fs/journal/recover.h"
#include "tallyfs/ctl.h"
#include "tallyfs/format.h"
#include "tools/ctl.h"
#include "tools/ctl_latency.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <uuid/uuid.h>

#define KEPT_BACK "kept back for overwriting and trees"

/* What both kinds of status tell. */
struct summary {
	const char *source;
	char label[TFS_LABEL_MAX + 1], uuid[UUID_STR_LEN], guard[8];
	uint64_t size, free, avail; /* bytes; avail UINT64_MAX: only a mount can tell */
	uint64_t mismatches;
	bool error, verify_off, damage;
	const char *note; /* worth a line, though no damage */
};

/* ---- in a few lines ---- */

static void describe_health(const struct summary *s, char *health, size_t size)
{
	if (s->error)
		snprintf(health, size,
			 "it was found inconsistent, or could not be written; the log says why");
	else if (s->mismatches)
		snprintf(health, size, "damage was seen: %llu times a block did not match",
			 (unsigned long long)s->mismatches);
	else if (s->damage)
		snprintf(health, size, "damage was seen");
	else
		snprintf(health, size, "no damage is known%s%s", s->note ? "; " : "",
			 s->note ? s->note : "");
}

static const char *what_to_do(const struct summary *s, bool mounted)
{
	if (s->damage)
		return mounted ? "unmount it; fsck.tallyfs -n --verify-data names what is damaged: "
				 "restore that"
			       : "fsck.tallyfs -n --verify-data names what is damaged: restore "
				 "that";
	if (s->verify_off)
		return "mount it without verify=off";
	return "nothing";
}

static void print_summary(const struct summary *s, bool mounted)
{
	char size[32], used[32], left[32], avail[32], health[128];

	describe_health(s, health, sizeof(health));
	text_out("  label       %s", s->label[0] ? s->label : "(none)");
	text_out("  uuid        %s", s->uuid);
	text_out("  size        %s", cli_size(s->size, size, sizeof(size)));
	text_out("  used        %s", cli_size(s->size - s->free, used, sizeof(used)));
	cli_size(s->free, left, sizeof(left));
	if (s->avail == UINT64_MAX)
		text_out("  free        %s; of it something is " KEPT_BACK " while it is mounted",
			 left);
	else
		text_out("  free        %s; %s of it for files, the rest is " KEPT_BACK, left,
			 cli_size(s->avail, avail, sizeof(avail)));
	text_out("  health      %s", health);
	text_out("  protection  %s%s; metadata is there once",
		 s->verify_off ? "file data is NOT verified (verify=off), metadata by "
			       : "every block is verified by ",
		 s->guard);
	text_out("  to do       %s", what_to_do(s, mounted));
}

static void json_summary(struct json_object *o, const struct summary *s, bool mounted)
{
	char health[128];

	describe_health(s, health, sizeof(health));
	cli_json_path(o, "label", s->label, strlen(s->label));
	json_object_object_add(o, "uuid", json_object_new_string(s->uuid));
	json_object_object_add(o, "guard", json_object_new_string(s->guard));
	json_object_object_add(o, "size_bytes", json_object_new_uint64(s->size));
	json_object_object_add(o, "used_bytes", json_object_new_uint64(s->size - s->free));
	json_object_object_add(o, "free_bytes", json_object_new_uint64(s->free));
	if (s->avail != UINT64_MAX)
		json_object_object_add(o, "available_bytes", json_object_new_uint64(s->avail));
	json_object_object_add(o, "health", json_object_new_string(health));
	json_object_object_add(o, "to_do", json_object_new_string(what_to_do(s, mounted)));
	json_object_object_add(o, "damage_known", json_object_new_boolean(s->damage));
}

static void set_guard(struct summary *s, uint32_t guard)
{
	snprintf(s->guard, sizeof(s->guard), "%s", guard == TFS_GUARD_XXH3 ? "xxh3" : "crc32");
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
			ctl_fail(path, errno == EPROTO ? "tallyctl and the running tallyfs are of "
							 "different versions"
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

/* A figure above 0 under one of these names means that damage is known. */
static bool tells_damage(const char *group, const char *name)
{
	return !strcmp(group, "damage") || !strcmp(name, "mismatches") ||
	       !strcmp(name, "needs_check") || (!strcmp(group, "state") && !strcmp(name, "error"));
}

struct figures {
	struct summary *s;
	struct json_object *json;    /* all go there; NULL: none */
	struct latencies *latencies; /* those go there; NULL: nowhere */
	bool print;
	char group[64]; /* last seen */
};

static void one_figure(struct figures *f, const char *group, const char *name,
		       unsigned long long value)
{
	struct json_object *o;

	if (!strcmp(group, TALLY_STATUS_LATENCY)) {
		if (f->latencies)
			latencies_add(f->latencies, name, value);
		return;
	}
	if (value && tells_damage(group, name))
		f->s->damage = true;
	if (!strcmp(group, "state") && !strcmp(name, "error"))
		f->s->error = value;
	if (!strcmp(group, "state") && !strcmp(name, "verify_off"))
		f->s->verify_off = value;
	if (!strcmp(group, "integrity") && !strcmp(name, "mismatches"))
		f->s->mismatches = value;
	if (f->print) {
		if (strcmp(f->group, group))
			text_out("%s", group);
		text_out("  %-28s %llu", name, value);
	}
	if (f->json) {
		if (!json_object_object_get_ex(f->json, group, &o)) {
			o = json_object_new_object();
			json_object_object_add(f->json, group, o);
		}
		json_object_object_add(o, name, json_object_new_uint64(value));
	}
	snprintf(f->group, sizeof(f->group), "%s", group);
}

static void all_figures(struct figures *f, const char *text)
{
	char *copy = strdup(text), *save, *line;

	for (line = copy ? strtok_r(copy, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *dot = strchr(line, '.'), *space = dot ? strchr(dot, ' ') : NULL;

		if (!space)
			continue;
		*dot = *space = '\0';
		one_figure(f, line, dot + 1, strtoull(space + 1, NULL, 10));
	}
	free(copy);
}

/* What is not counted: whose it is, and its space. */
static int identify(int fd, struct summary *s)
{
	struct tally_identity id = { .version = TALLY_CTL_VERSION };
	struct statvfs st;

	if (ioctl(fd, TALLY_IOC_IDENTITY, &id) || fstatvfs(fd, &st))
		return ctl_fail(
			s->source,
			errno == EPROTO || errno == ENOTTY
				? "tallyctl and the running tallyfs are of different versions"
				: explain_path(-errno));
	memcpy(s->label, id.label, TFS_LABEL_MAX);
	uuid_unparse_lower(id.uuid, s->uuid);
	set_guard(s, id.guard);
	s->size = (uint64_t)st.f_blocks * st.f_frsize;
	s->free = (uint64_t)st.f_bfree * st.f_frsize;
	s->avail = (uint64_t)st.f_bavail * st.f_frsize;
	return CTL_OK;
}

static void mount_json(const struct mount_entry *m, struct summary *s, const char *text)
{
	struct figures f = { .s = s,
			     .json = cli_json_begin("status"),
			     .latencies = latencies_new() };

	cli_json_path(f.json, "source", m->source, strlen(m->source));
	cli_json_path(f.json, "mountpoint", m->mountpoint, strlen(m->mountpoint));
	json_object_object_add(f.json, "type", json_object_new_string(m->type));
	json_object_object_add(f.json, "read_only", json_object_new_boolean(m->read_only));
	json_summary(f.json, s, true);
	all_figures(&f, text);
	if (f.latencies)
		json_object_object_add(f.json, "latency", latencies_json(f.latencies));
	latencies_free(f.latencies);
	cli_json_end(f.json);
}

static void mount_text(const struct mount_entry *m, struct summary *s, const char *text,
		       bool verbose)
{
	struct figures f = { .s = s, .print = true };

	text_out("%s on %s (%s%s)", m->source, m->mountpoint, m->type,
		 m->read_only ? ", read-only" : "");
	print_summary(s, true);
	if (!verbose)
		return;
	f.latencies = latencies_new();
	all_figures(&f, text);
	if (f.latencies)
		latencies_print(f.latencies);
	latencies_free(f.latencies);
}

static void show_mount(const struct ctl_request *r, const struct mount_entry *m, struct summary *s,
		       const char *text)
{
	struct figures f = { .s = s };

	all_figures(&f, text); /* what the summary says of damage */
	if (r->json)
		mount_json(m, s, text);
	else
		mount_text(m, s, text, r->verbose);
}

static int status_of_mount(const struct ctl_request *r)
{
	struct summary s = { .source = r->target };
	struct mount_entry m;
	int fd = ctl_open_mount(r->target, &m), code;
	char *text;

	if (fd < 0)
		return CTL_FAIL;
	text = fetch(fd, r->target);
	code = text ? identify(fd, &s) : CTL_FAIL;
	close(fd);
	if (code == CTL_OK)
		show_mount(r, &m, &s, text);
	free(text);
	return code == CTL_OK && r->check && s.damage ? CTL_DAMAGE : code;
}

/* ---- of an image ---- */

static void image_json(const struct summary *s, const struct tfs_super *super)
{
	struct json_object *o = cli_json_begin("status");

	cli_json_path(o, "source", s->source, strlen(s->source));
	json_summary(o, s, false);
	json_object_object_add(o, "block_size",
			       json_object_new_uint64(le32_get(super->block_size)));
	json_object_object_add(o, "inodes", json_object_new_uint64(le64_get(super->nr_inodes)));
	json_object_object_add(o, "mount_count",
			       json_object_new_uint64(le64_get(super->mount_count)));
	json_object_object_add(o, "mismatches",
			       json_object_new_uint64(le64_get(super->mismatches)));
	cli_json_end(o);
}

static void image_text(const struct summary *s, const struct tfs_super *super, bool verbose)
{
	text_out("%s (not mounted)", s->source);
	print_summary(s, false);
	if (!verbose)
		return;
	text_out("  block size  %u bytes", le32_get(super->block_size));
	text_out("  inodes      %llu", (unsigned long long)le64_get(super->nr_inodes));
	text_out("  mounted     %llu times", (unsigned long long)le64_get(super->mount_count));
	text_out("  mismatches  %llu", (unsigned long long)le64_get(super->mismatches));
}

/* The superblock, and whether the journal knows better.  0, or -errno with *why. */
static int read_image(struct summary *s, struct bdev *b, struct tfs_super *super, char *why,
		      size_t why_len)
{
	struct tfs_recovery rec = { 0 };
	struct tfs_geom g;
	int err = tfs_super_read(b, -1, super, &g, why, why_len);

	if (err)
		return err;
	if (!journal_recover_scan(b, super, &g, &rec)) {
		if (rec.pending)
			s->note = "not unmounted cleanly: the next mount replays the journal, the "
				  "figures are older";
		s->damage = rec.corrupt;
	}
	journal_recovery_free(&rec);
	return 0;
}

static int status_of_image(const struct ctl_request *r)
{
	struct summary s = { .source = r->target, .avail = UINT64_MAX };
	char why[PATH_MAX + 256] = "", busy_by[LOCKHOLDER_TEXT];
	struct tfs_super super;
	struct bdev *b;
	int err;

	err = bdev_open_by(r->target, BDEV_OPEN_RDONLY | BDEV_OPEN_BUFFERED | BDEV_OPEN_WAIT, &b,
			   busy_by);
	if (err == -ENOTBLK)
		return ctl_fail(r->target, "neither a tallyfs mount point nor a device or file");
	if (err) {
		explain_open(why, sizeof(why), r->target, err, busy_by, NULL);
		return ctl_fail(r->target, why);
	}
	err = read_image(&s, b, &super, why, sizeof(why));
	bdev_close(b);
	if (err)
		return ctl_fail(r->target, why[0] ? why : strerror(-err));
	memcpy(s.label, super.label, TFS_LABEL_MAX);
	uuid_unparse_lower(super.uuid, s.uuid);
	set_guard(&s, le32_get(super.guard));
	s.size = le64_get(super.total_blocks) * le32_get(super.block_size);
	s.free = le64_get(super.free_blocks) * le32_get(super.block_size);
	s.mismatches = le64_get(super.mismatches);
	s.error = le32_get(super.state) & TFS_STATE_ERRORS;
	s.damage |= s.mismatches || s.error;
	if (r->json)
		image_json(&s, &super);
	else
		image_text(&s, &super, r->verbose);
	return r->check && s.damage ? CTL_DAMAGE : CTL_OK;
}

int ctl_status(const struct ctl_request *r)
{
	struct stat st;

	if (stat(r->target, &st))
		return ctl_fail(r->target, explain_path(-errno));
	return S_ISDIR(st.st_mode) ? status_of_mount(r) : status_of_image(r);
}
