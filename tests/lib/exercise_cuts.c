/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>
#include "core/block/bdev.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "fsck/check.h"
#include "tallyfs/format.h"
#include "tests/lib/crashdev.h"
#include "tests/lib/exercise_cuts.h"
#include "tests/lib/exercise_lib.h"
#include "tests/lib/random.h"

struct cuts_backend {
	struct lib_backend e; /* first: what the exercisers' operations get */
	struct fixture fx;
	struct crashdev *cd;
	struct bdev *image;
	uint64_t rng, began; /* events when the operation began */
	unsigned int images;
	bool content;
};

static void print_problem(void *arg, const struct check_problem *p)
{
	if (p->severity != CHECK_NOTE)
		fprintf(stderr, "check: %s: %s\n", p->code, p->text);
}

static int check_clean(struct bdev *b, const char *when)
{
	struct check_opts co = { .verify_data = true, .report = print_problem };
	struct check_result r;
	char why[300] = "";

	if (!tfs_check_device(b, &co, &r, why, sizeof(why)) && !r.errors && !r.leaks)
		return 0;
	fprintf(stderr, "an image of a power cut is not clean %s: %s\n", when, why);
	return -1;
}

static void begin(void *be)
{
	struct cuts_backend *c = be;

	c->began = crashdev_events(c->cd);
	crashdev_settle(c->cd, c->began);
}

static int compare(struct cuts_backend *c, struct fixture *fx, int (*check)(void *arg, void *image),
		   void *arg)
{
	struct lib_backend e = { .fx = fx, .top = TFS_INO_ROOT };
	int err = c->content ? lib_backend_reopen(&e) : 0;

	if (err) {
		fprintf(stderr, "the files of an image of a power cut cannot be opened: %s\n",
			strerror(-err));
		return err;
	}
	err = check(arg, &e);
	if (c->content)
		lib_backend_close(&e);
	return err;
}

static int cut(void *be, int (*check)(void *arg, void *image), void *arg)
{
	struct tfs_mount_opts mo = { .no_threads = true, .cache_size = 4u << 20 };
	struct cuts_backend *c = be;
	struct fixture fx = { .dev = c->image };
	uint64_t at = c->began + test_rand(&c->rng) % (crashdev_events(c->cd) - c->began + 1);
	enum crash_mode mode = c->images++ % CRASH_MODES;
	char why[300] = "";
	int err, err2;

	crashdev_image(c->cd, at, mode, &c->rng, bdev_mem_data(c->image));
	/* later cuts of the same operation come after this one */
	c->began = at;
	/* a copy of superblock or log header may be rubbish until the next mount */
	if (mode != CRASH_RUINED && check_clean(c->image, "as found"))
		return -1;
	err = vfs_mount(c->image, &mo, &fx.fs, why, sizeof(why));
	if (err) {
		fprintf(stderr, "an image of a power cut cannot be mounted: %s\n", why);
		return err;
	}
	err = compare(c, &fx, check, arg);
	err2 = vfs_unmount(fx.fs);
	if (err2)
		fprintf(stderr, "an image of a power cut cannot be unmounted: %s\n",
			strerror(-err2));
	err = err ? err : err2;
	return err ? err : check_clean(c->image, "after mount and unmount");
}

static void make(struct cuts_backend *c, const struct exercise_cuts_opts *o, bool content)
{
	struct tfs_mount_opts mo = { .no_threads = true,
				     .cache_size = 4u << 20,
				     .break_rules = o->break_rules };
	uint64_t bytes = fx_bytes(o->size);

	*c = (struct cuts_backend){ .rng = o->seed | 1, .content = content };
	c->image = bdev_mem_create(bytes);
	FX_CHECK(c->image);
	fx_format(c->image, o->size, o->seed | 1);
	c->cd = crashdev_create(bdev_mem_data(c->image), bytes);
	crashdev_allow_fua(c->cd, o->seed >> 1 & 1);
	crashdev_lose_flushes(c->cd, o->lose_nth_flush);
	fx_mount(&c->fx, crashdev_bdev(c->cd), &mo);
}

static void finish(struct cuts_backend *c, unsigned int *images)
{
	fx_destroy(&c->fx);
	crashdev_destroy(c->cd);
	bdev_close(c->image);
	*images += c->images;
}

int exercise_content_cuts(const struct exercise_cuts_opts *o, unsigned int *images)
{
	struct content_opts fo = { .seed = o->seed,
				   .ops = o->ops,
				   .nr_files = LIB_BACKEND_FILES,
				   .max_size = 400000,
				   .remount_every = o->remount_every,
				   .cut_every = o->cut_every,
				   .block_size = o->size == FX_SMALL1K ? 1024 : 4096,
				   .steps = o->steps };
	struct content_ops ops = lib_content_ops;
	struct cuts_backend c;
	int err;

	ops.begin = begin;
	ops.cut = cut;
	make(&c, o, true);
	lib_backend_start(&c.e, &c.fx, TFS_INO_ROOT);
	FX_OK(vfs_sync(c.fx.fs));
	err = exercise_content(&fo, &ops, &c);
	lib_backend_close(&c.e);
	finish(&c, images);
	return err;
}

int exercise_names_cuts(const struct exercise_cuts_opts *o, unsigned int *images)
{
	struct names_opts to = { .seed = o->seed,
				 .ops = o->ops,
				 .remount_every = o->remount_every,
				 .cut_every = o->cut_every,
				 .steps = o->steps };
	struct names_ops ops = lib_names_ops;
	struct cuts_backend c;
	int err;

	ops.begin = begin;
	ops.cut = cut;
	make(&c, o, false);
	c.e = (struct lib_backend){ .fx = &c.fx, .top = TFS_INO_ROOT };
	err = exercise_names(&to, &ops, &c);
	finish(&c, images);
	return err;
}
