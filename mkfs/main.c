/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mkfs.tallyfs: make a file system. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uuid/uuid.h>
#include "common/cli.h"
#include "core/block/bdev.h"
#include "core/lib/text.h"
#include "core/lib/util.h"
#include "fs/disk/geom.h"
#include "fs/state/backing.h"
#include "fs/vfs/mkfs.h"
#include "mkfs/target.h"
#include "tallyfs/format.h"

#define PROGRAM "mkfs.tallyfs"
#define DISCARD_STEP (1ull << 30)

static const char usage_text[] =
	"Usage: mkfs.tallyfs [OPTION]... DEVICE|FILE [SIZE]\n"
	"Make a tallyfs.  With SIZE, a file is created or grown.  Sizes take K, M, G, T (powers of "
	"1024).\n"
	"\n"
	"  -b SIZE                  block size, 1K to 64K (default 4K)\n"
	"  -f                       overwrite an existing file system\n"
	"  -g xxh3|crc32            guard kept for each block (default xxh3)\n"
	"  -K                       do not discard the blocks first\n"
	"  -L LABEL                 volume label, at most 63 bytes\n"
	"  -m single                copies of the metadata (dup: not in this version)\n"
	"  -N                       dry run: say what would be made, write nothing\n"
	"  -O [^]FEATURE            switch a feature on or off (version 1 has none)\n"
	"  -q                       errors only\n"
	"  -U UUID                  this UUID instead of a random one\n"
	"  -v                       say more about the geometry\n"
	"      --group-blocks NUMBER\n"
	"                           blocks per group (default 8 times the block size); for "
	"testing\n"
	"      --journal-size SIZE  size of the journal (default 1/16 of the device, from 1G on "
	"1/64; 1M to 64M)\n"
	"      --node-size SIZE     tree nodes, 4K to 64K (default 16K)\n"
	"      --root-owner UID:GID owner of the root directory (default: who runs this)\n"
	"      --json               what was made as JSON\n"
	"      --progress=auto|always|never\n"
	"                           a progress bar on stderr while discarding (default auto: on a "
	"terminal)\n"
	"      --help               this text\n"
	"      --version            version\n"
	"\n"
	"Exit status: 0 made, 1 usage error or not made.\n";

static struct {
	struct tfs_format_opts format;
	bool force, keep, dry_run, quiet, verbose, json;
	enum cli_progress_mode progress;
	const char *path;
	uint64_t size; /* 0: not given */
} opt;

enum {
	OPT_GROUP = 256,
	OPT_JOURNAL,
	OPT_NODE,
	OPT_OWNER,
	OPT_JSON,
	OPT_PROGRESS,
	OPT_HELP,
	OPT_VERSION
};

static const struct option long_options[] = {
	{ "group-blocks", required_argument, NULL, OPT_GROUP },
	{ "journal-size", required_argument, NULL, OPT_JOURNAL },
	{ "node-size", required_argument, NULL, OPT_NODE },
	{ "root-owner", required_argument, NULL, OPT_OWNER },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "progress", required_argument, NULL, OPT_PROGRESS },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ 0 },
};

static int bad(const char *what, const char *arg)
{
	text_err(PROGRAM ": %s%s%s", what, arg ? ": " : "", arg ? arg : "");
	return 1;
}

static int parse_u32(const char *what, const char *arg, uint32_t *out)
{
	uint64_t v;

	if (!cli_parse_size(arg, &v) || !v || v > UINT32_MAX)
		return bad(what, arg);
	*out = (uint32_t)v;
	return 0;
}

static int parse_owner(const char *arg)
{
	unsigned int uid, gid;
	int used = 0;

	/* %u would take a sign */
	if (strspn(arg, "0123456789:") != strlen(arg) ||
	    sscanf(arg, "%u:%u%n", &uid, &gid, &used) != 2 || arg[used])
		return bad("--root-owner takes two numbers, UID:GID", arg);
	opt.format.root_uid = uid;
	opt.format.root_gid = gid;
	return 0;
}

static int parse_guard(const char *arg)
{
	if (!strcmp(arg, "xxh3"))
		opt.format.guard = TFS_GUARD_XXH3;
	else if (!strcmp(arg, "crc32"))
		opt.format.guard = TFS_GUARD_CRC32;
	else
		return bad("-g takes xxh3 or crc32", arg);
	return 0;
}

static int parse_label(const char *arg)
{
	if (strlen(arg) > TFS_LABEL_MAX)
		return bad("the label is longer than 63 bytes", arg);
	strcpy(opt.format.label, arg);
	return 0;
}

/* 0: go on. */
static int parse_option(int c, const char *arg, char **argv)
{
	switch (c) {
	case 'b':
		return parse_u32("not a block size", arg, &opt.format.block_size);
	case 'f':
		opt.force = true;
		return 0;
	case 'g':
		return parse_guard(arg);
	case 'K':
		opt.keep = true;
		return 0;
	case 'L':
		return parse_label(arg);
	case 'm':
		if (!strcmp(arg, "dup"))
			return bad("-m dup: mirrored metadata is not in this version", NULL);
		return strcmp(arg, "single") ? bad("-m takes single", arg) : 0;
	case 'N':
		opt.dry_run = true;
		return 0;
	case 'O':
		return bad("unknown feature", arg);
	case 'q':
		opt.quiet = true;
		return 0;
	case 'U':
		return uuid_parse(arg, opt.format.uuid) ? bad("not a UUID", arg) : 0;
	case 'v':
		opt.verbose = true;
		return 0;
	case OPT_GROUP:
		return parse_u32("not a number of blocks per group", arg,
				 &opt.format.blocks_per_group);
	case OPT_JOURNAL:
		return cli_parse_size(arg, &opt.format.journal_bytes) && opt.format.journal_bytes
			       ? 0
			       : bad("not a journal size", arg);
	case OPT_NODE:
		return parse_u32("not a node size", arg, &opt.format.node_size);
	case OPT_OWNER:
		return parse_owner(arg);
	case OPT_JSON:
		opt.json = true;
		return 0;
	case OPT_PROGRESS:
		return cli_parse_progress(arg, &opt.progress)
			       ? 0
			       : bad("--progress takes auto, always or never", arg);
	}
	return cli_option_error(PROGRAM, c, argv);
}

/* -1: go on; else the exit status. */
static int parse(int argc, char **argv)
{
	int c;

	opt.format.root_uid = getuid();
	opt.format.root_gid = getgid();
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":b:fg:KL:m:NO:qU:v", long_options, NULL)) >= 0) {
		if (c == OPT_HELP) {
			fputs(usage_text, stdout);
			return 0;
		}
		if (c == OPT_VERSION) {
			text_out(PROGRAM " %s", TALLYFS_VERSION);
			return 0;
		}
		if (parse_option(c, optarg, argv))
			return 1;
	}
	if (optind == argc)
		return bad("which DEVICE or FILE? (see --help)", NULL);
	if (argc - optind > 2)
		return bad("too many arguments", argv[optind + 2]);
	opt.path = argv[optind];
	if (argc - optind == 2 && (!cli_parse_size(argv[optind + 1], &opt.size) || !opt.size))
		return bad("not a size", argv[optind + 1]);
	return -1;
}

/*
 * Ctrl-C is looked at between the steps; once the old file system is gone there is either none or,
 * when the last step has ended in time, a whole one.  A second Ctrl-C ends the program at once.
 */
static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	interrupted = sig;
}

static void catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESETHAND };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
}

static int discard_all(struct bdev *b, const struct tfs_geom *g)
{
	uint64_t end = g->total_blocks << g->blkbits, at, n;
	struct cli_progress bar;
	int err = 0;

	cli_progress_init(&bar, opt.quiet ? CLI_PROGRESS_NEVER : opt.progress, opt.json);
	for (at = TFS_SUPER_OFFSET; at < end && !err && !interrupted; at += n) {
		n = end - at < DISCARD_STEP ? end - at : DISCARD_STEP;
		err = bdev_discard(b, at, n);
		cli_progress_update(&bar, "discarding", at + n, end, true);
	}
	cli_progress_clear(&bar);
	/* a favour to the device: nothing depends on it */
	return err == -EOPNOTSUPP ? 0 : err;
}

static void report_json(const struct tfs_super *s, const struct tfs_geom *g)
{
	struct json_object *o = cli_json_begin(PROGRAM);
	char uuid[37];

	uuid_unparse_lower(s->uuid, uuid);
	json_object_object_add(o, "message_type", json_object_new_string("summary"));
	json_object_object_add(o, "dry_run", json_object_new_boolean(opt.dry_run));
	cli_json_path(o, "path", opt.path, strlen(opt.path));
	json_object_object_add(o, "uuid", json_object_new_string(uuid));
	cli_json_path(o, "label", (const char *)s->label,
		      strnlen((const char *)s->label, sizeof(s->label)));
	json_object_object_add(
		o, "guard",
		json_object_new_string(le32_get(s->guard) == TFS_GUARD_CRC32 ? "crc32" : "xxh3"));
	json_object_object_add(o, "block_size", json_object_new_int64(g->block_size));
	json_object_object_add(o, "node_size", json_object_new_int64(g->node_size));
	json_object_object_add(o, "blocks_per_group", json_object_new_int64(g->blocks_per_group));
	json_object_object_add(o, "groups", json_object_new_uint64(g->nr_groups));
	json_object_object_add(o, "total_bytes",
			       json_object_new_uint64(g->total_blocks << g->blkbits));
	json_object_object_add(o, "free_bytes",
			       json_object_new_uint64(le64_get(s->free_blocks) << g->blkbits));
	json_object_object_add(o, "journal_bytes",
			       json_object_new_uint64(g->journal_blocks << g->blkbits));
	cli_json_end(o);
}

static void report(const struct tfs_super *s, const struct tfs_geom *g)
{
	char uuid[37], a[32], b[32];

	uuid_unparse_lower(s->uuid, uuid);
	text_out("%s: %s, %s free (a mount keeps some of it back for overwriting and trees), UUID "
		 "%s%s%s%s",
		 opt.path, cli_size(g->total_blocks << g->blkbits, a, sizeof(a)),
		 cli_size(le64_get(s->free_blocks) << g->blkbits, b, sizeof(b)), uuid,
		 s->label[0] ? ", label " : "", (const char *)s->label,
		 opt.dry_run ? " (dry run: nothing was written)" : "");
	if (!opt.verbose)
		return;
	text_out("  blocks        %llu of %u bytes", (unsigned long long)g->total_blocks,
		 g->block_size);
	text_out("  tree nodes    %u bytes, content up to %u bytes kept inline", g->node_size,
		 g->inline_max);
	text_out("  groups        %llu of %u blocks", (unsigned long long)g->nr_groups,
		 g->blocks_per_group);
	text_out("  journal       %s at block %llu",
		 cli_size(g->journal_blocks << g->blkbits, a, sizeof(a)),
		 (unsigned long long)g->journal_start);
	text_out("  superblocks   block %llu, copies %llu %llu", (unsigned long long)g->super_block,
		 (unsigned long long)g->super_copies[0], (unsigned long long)g->super_copies[1]);
	text_out("  guard         %s", le32_get(s->guard) == TFS_GUARD_CRC32 ? "crc32" : "xxh3");
	text_out("  root owner    %u:%u", opt.format.root_uid, opt.format.root_gid);
}

static int open_device(struct target *t, struct bdev **out, char *why, size_t why_len)
{
	unsigned int flags =
		BDEV_OPEN_NO_URING | BDEV_OPEN_WAIT | (opt.dry_run ? BDEV_OPEN_RDONLY : 0);
	char busy_by[LOCKHOLDER_TEXT], text[256];
	int err = bdev_open_by(t->path, flags, out, busy_by);

	if (!err)
		return 0;
	bdev_open_error(text, sizeof(text), err, busy_by);
	snprintf(why, why_len, "%s: %s", t->path, text);
	return -1;
}

static int write_all(struct target *t, struct bdev *b, const struct tfs_super *s,
		     const struct tfs_geom *g, char *why, size_t why_len)
{
	int err = 0;

	if (interrupted)
		return -1;
	t->touched = true;
	err = tfs_format_erase(b, g);
	if (err) {
		snprintf(why, why_len, "%s: writing failed: %s", t->path, strerror(-err));
		return -1;
	}
	if (target_wipe(t, why, why_len))
		return -1;
	if (!opt.keep && !t->created)
		err = discard_all(b, g);
	if (interrupted)
		return -1;
	if (err)
		text_err(PROGRAM ": %s: blocks can't be discarded (going on): %s", t->path,
			 strerror(-err));
	err = tfs_format_write(b, &opt.format, s, g);
	/* asked again: it says how much is missing */
	if (err == -ENOSPC &&
	    backing_fixed(b, g, le64_get(s->groups_init), NULL, NULL, why, why_len) == err)
		return -1;
	if (err) {
		snprintf(why, why_len, "%s: writing failed: %s", t->path, strerror(-err));
		/* a superblock's copy may be there already */
		tfs_format_erase(b, g);
	} else if (interrupted) {
		err = tfs_format_erase(b, g) ? 0 : -EINTR;
	}
	return err ? -1 : 0;
}

/* Plan for what is not there yet, or would be grown, in a dry run. */
static int plan_only(uint64_t size, struct tfs_super *s, struct tfs_geom *g, char *why,
		     size_t why_len)
{
	struct bdev future = { .size = size, .align = SECTOR_SIZE };

	return tfs_format_plan(&future, &opt.format, s, g, why, why_len) ? -1 : 0;
}

static int make(struct target *t, char *why, size_t why_len)
{
	struct bdev *b = NULL;
	struct tfs_super s;
	struct tfs_geom g;
	int err;

	if (target_open(t, opt.path, opt.size, opt.dry_run, why, why_len) ||
	    (!opt.force && target_check_empty(t, why, why_len)))
		return -1;
	if (opt.size > t->size && t->is_block) {
		snprintf(why, why_len, "%s: has only %llu bytes", t->path,
			 (unsigned long long)t->size);
		return -1;
	}
	opt.format.size = opt.size;
	/* refuse before anything is created or grown */
	err = plan_only(opt.size > t->size ? opt.size : t->size, &s, &g, why, why_len);
	if (err || (opt.dry_run && opt.size > t->size))
		goto out;
	if (!opt.dry_run)
		err = target_grow(t, opt.size, why, why_len);
	if (!err)
		err = open_device(t, &b, why, why_len);
	if (!err)
		err = tfs_format_plan(b, &opt.format, &s, &g, why, why_len) ? -1 : 0;
	if (!err && !opt.dry_run)
		err = write_all(t, b, &s, &g, why, why_len);
	if (b)
		bdev_close(b);
out:
	if (!err && opt.json)
		report_json(&s, &g);
	else if (!err && !opt.quiet)
		report(&s, &g);
	return err;
}

int main(int argc, char **argv)
{
	struct target t;
	char why[600] = "";
	int status = parse(argc, argv);

	if (status >= 0)
		return status;
	catch_signals();
	status = make(&t, why, sizeof(why)) ? 1 : 0;
	if (status && interrupted)
		snprintf(why, sizeof(why), "interrupted: no file system was made%s",
			 !t.touched  ? ", nothing was changed"
			 : t.created ? ""
				     : "; what was there before is gone");
	if (status && strncmp(why, opt.path, strlen(opt.path)))
		text_err(PROGRAM ": %s: %s", opt.path, why);
	else if (status)
		text_err(PROGRAM ": %s", why);
	target_close(&t, status);
	return status;
}
