/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The checker: order of the passes, problems, and the small things they share.
 *
 *   supers   the three superblocks and the journal's own state
 *   groups   headers, bitmaps and tuple blocks verify; counts agree
 *   trees    every node verifies and lies within its parent's bounds; every
 *            item makes sense; the blocks they reference are marked
 *   links    names against back-references, directories hang together, orphans
 *   space    bitmaps against what was marked; counters; reference counts
 *   data     (on request) every data block against its tuple, in device order
 *
 * A pass goes on after a problem.  When a tree node is unreadable, what follows from
 * the missing items (leaked blocks, wrong link counts) is not reported again.
 * Nothing at all is reported once the check has been stopped.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include "core/block/bdev.h"
#include "core/lib/log.h"
#include "core/lib/util.h"
#include "fs/disk/geom.h"
#include "fs/disk/super.h"
#include "fs/journal/buffer.h"
#include "fs/journal/recover.h"
#include "fs/journal/trans.h"
#include "fs/names/path.h"
#include "fs/state/fs.h"
#include "fs/vfs/fs_open.h"
#include "fsck/check_priv.h"
#include "tallyfs/format.h"

void check_report(struct check *c, enum check_severity sev, const char *code, uint64_t ino,
		  uint64_t block, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	/* A check that was stopped, or ran out of memory, takes for missing what it has not come
	 * to. */
	if (c->err)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (sev == CHECK_ERROR)
		c->res->errors++;
	else if (sev == CHECK_LEAK)
		c->res->leaks++;
	if (c->opts->report) {
		struct check_problem p = {
			.severity = sev, .code = code, .ino = ino, .block = block, .text = text
		};

		if (ino && ino == c->path_ino)
			p.path = c->path;

		c->opts->report(c->opts->arg, &p);
	}
}

bool check_progress(struct check *c, const char *phase, uint64_t done, uint64_t total)
{
	if (!c->err && c->opts->progress && !c->opts->progress(c->opts->arg, phase, done, total))
		c->err = -ECANCELED;
	return !c->err;
}

bool check_step(struct check *c, const char *phase, uint64_t done, uint64_t total)
{
	return done % 1024 ? !c->err : check_progress(c, phase, done, total);
}

void *check_vec_add(struct check *c, struct check_vec *v, size_t elem)
{
	if (v->nr == v->cap) {
		size_t cap = v->cap ? v->cap * 2 : 64;
		void *p = tl_realloc(v->v, cap * elem);

		if (!p) {
			c->err = -ENOMEM;
			return NULL;
		}
		v->v = p;
		v->cap = cap;
	}
	return memset((char *)v->v + elem * v->nr++, 0, elem);
}

int check_buf(struct check *c, uint64_t block, enum tfs_buf_kind kind, struct tfs_buf **out)
{
	return TRANS_READ(t, c->fs, buf_get(t, block, kind, out));
}

bool check_block_ok(const struct check *c, uint64_t block, uint64_t n)
{
	const struct tfs_geom *g = &c->fs->geom;

	return n && block < g->total_blocks && n <= g->total_blocks - block &&
	       !tfs_geom_fixed(g, block, n);
}

void check_mark(struct check *c, uint64_t block, uint64_t n, const char *what, uint64_t ino)
{
	const struct tfs_geom *g = &c->fs->geom;

	for (uint64_t b = block; b < block + n; b++) {
		uint64_t group = tfs_group_of(g, b), i = b - tfs_group_start(g, group);

		if (!c->used[group]) {
			c->used[group] = tl_zalloc(g->block_size);
			if (!c->used[group]) {
				c->err = -ENOMEM;
				return;
			}
		}
		if (c->used[group][i / 8] & (1u << i % 8)) {
			check_report(c, CHECK_ERROR, "block-twice", ino, b,
				     "block %llu is used twice; the second user is %s",
				     (unsigned long long)b, what);
			return;
		}
		c->used[group][i / 8] |= 1u << i % 8;
	}
}

void check_name(struct check *c, uint64_t ino, char *buf, size_t size)
{
	int err;

	err = TRANS_READ(t, c->fs, inode_path(t, ino, c->path, sizeof(c->path)));
	c->path_ino = err < 0 ? 0 : ino;
	if (err < 0)
		snprintf(buf, size, "inode %llu", (unsigned long long)ino);
	else
		snprintf(buf, size, "inode %llu (%s)", (unsigned long long)ino, c->path);
}

static void check_free(struct check *c)
{
	for (uint64_t i = 0; i < c->fs->geom.nr_groups; i++) {
		if (c->used)
			tl_free(c->used[i]);
		if (c->disk)
			tl_free(c->disk[i]);
		if (c->nodes)
			tl_free(c->nodes[i]);
	}
	tl_free(c->used);
	tl_free(c->disk);
	tl_free(c->nodes);
	tl_free(c->extents.v);
	tl_free(c->dirs.v);
	tl_free(c->orphans.v);
	tl_free(c->unlinked.v);
	tl_free(c->intents.v);
	tl_free(c->refs.v);
}

/* What could not be verified logs why; the report repeats it, so the log itself stays quiet. */
static void take_log(void *arg, enum log_level lvl, const char *line)
{
	struct check *c = arg;

	if (lvl <= LOG_LVL_WARN)
		snprintf(c->log_line, sizeof(c->log_line), "%s", line);
}

int tfs_check(struct tfs_fs *fs, const struct tfs_recovery *rec, const struct check_opts *opts,
	      struct check_result *res)
{
	static void (*const pass[])(struct check *) = { check_supers, check_groups, check_trees,
							check_links,  check_space,  check_data };
	struct check c = { .fs = fs, .rec = rec, .opts = opts, .res = res };

	memset(res, 0, sizeof(*res));
	c.used = tl_zalloc(fs->geom.nr_groups * sizeof(*c.used));
	c.disk = tl_zalloc(fs->geom.nr_groups * sizeof(*c.disk));
	c.nodes = tl_zalloc(fs->geom.nr_groups * sizeof(*c.nodes));
	if (!c.used || !c.disk || !c.nodes)
		c.err = -ENOMEM;
	log_set_thread_hook(take_log, &c);
	for (size_t i = 0; i < ARRAY_SIZE(pass) && !c.err; i++)
		pass[i](&c);
	log_set_thread_hook(NULL, NULL);
	check_free(&c);
	return c.err;
}

int tfs_check_device(struct bdev *b, const struct check_opts *opts, struct check_result *res,
		     char *why, size_t why_len)
{
	struct tfs_mount_opts mo = { .ro = true,
				     .no_threads = true,
				     .super = opts->super,
				     .break_rules = opts->break_rules };
	struct tfs_recovery rec = { 0 };
	struct tfs_super super;
	struct tfs_geom geom;
	struct tfs_fs *fs;
	int err;

	memset(res, 0, sizeof(*res));
	err = tfs_super_read(b, (int)opts->super - 1, &super, &geom, why, why_len);
	if (err)
		return err;
	err = journal_recover_scan(b, &super, &geom, &rec);
	if (err) {
		snprintf(why, why_len, "the journal could not be read: %s", strerror(-err));
		return err;
	}
	err = tfs_open(b, &mo, &fs, why, why_len);
	if (!err) {
		err = tfs_check(fs, &rec, opts, res);
		tfs_close(fs);
		if (err)
			snprintf(why, why_len, "%s", strerror(-err));
	}
	journal_recovery_free(&rec);
	return err;
}
