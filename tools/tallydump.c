/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tallydump: show the structures and files of an unmounted tallyfs.  Nothing is written to it, a
 * pending journal is replayed in memory.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/block/bio.h"
#include "core/iomap/iomap.h"
#include "core/lib/log.h"
#include "core/lib/text.h"
#include "core/lib/util.h"
#include "fs/disk/super.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"
#include "tools/dump.h"
#include "tools/dump_print.h"
#include "tools/dump_udev.h"

#define PROGRAM "tallydump"

static const char usage_text[] =
	"Usage: tallydump [--json] DEVICE|FILE COMMAND [ARGUMENT...]\n"
	"       tallydump --udev DEVICE|FILE\n"
	"Show the structures and files of an unmounted tallyfs.  Writes nothing to it.\n"
	"\n"
	"Commands:\n"
	"  super       the superblock\n"
	"  group N     the header of allocation group N\n"
	"  tuple N     the tuple of block N\n"
	"  block N     what block N is, and its bytes\n"
	"  node N      the tree node at block N\n"
	"  inode N     inode N and what belongs to it\n"
	"  extents N   where the data of inode N is\n"
	"  journal     the journal's headers and the transactions in it\n"
	"  ls [PATH]   the files in directory PATH (default /), or the file PATH\n"
	"  cat PATH    the contents of file PATH, as far as they are good\n"
	"  extract PATH DIRECTORY\n"
	"              file PATH, or what directory PATH holds, into DIRECTORY, which is new or "
	"empty\n"
	"\n"
	"  --json      as JSON (not with cat and extract)\n"
	"  --udev      lines ID_FS_TYPE, ID_FS_UUID, ID_FS_LABEL for a udev rule\n"
	"  --help      this text\n"
	"  --version   version\n"
	"\n"
	"Exit status: 0 shown, 1 usage error, not a tallyfs, damaged or not there.\n";

/* What a command needs open. */
enum needs {
	NEEDS_SUPER, /* the superblock; more, if it can be had */
	NEEDS_FS,    /* the metadata */
	NEEDS_FILES, /* all, as if it were mounted */
};

static const struct command {
	const char *name;
	dump_fn *fn;
	enum needs needs;
	bool number;
	unsigned int min_args, max_args; /* other arguments */
	bool no_json;
} commands[] = {
	{ "super", dump_super, NEEDS_SUPER, false, 0, 0, false },
	{ "group", dump_group, NEEDS_FS, true, 0, 0, false },
	{ "tuple", dump_tuple, NEEDS_FS, true, 0, 0, false },
	{ "block", dump_block, NEEDS_FS, true, 0, 0, false },
	{ "node", dump_node, NEEDS_FS, true, 0, 0, false },
	{ "inode", dump_inode, NEEDS_FS, true, 0, 0, false },
	{ "extents", dump_extents, NEEDS_FS, true, 0, 0, false },
	{ "journal", dump_journal, NEEDS_SUPER, false, 0, 0, false },
	{ "ls", dump_ls, NEEDS_FILES, false, 0, 1, false },
	{ "cat", dump_cat, NEEDS_FILES, false, 1, 1, true },
	{ "extract", dump_extract, NEEDS_FILES, false, 2, 2, true },
};

enum { OPT_JSON = 256, OPT_UDEV, OPT_HELP, OPT_VERSION };
static const struct option long_options[] = {
	{ "json", no_argument, NULL, OPT_JSON },
	{ "udev", no_argument, NULL, OPT_UDEV },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ 0 },
};

static int fail(const char *what, const char *arg)
{
	text_err(PROGRAM ": %s%s%s", what, arg ? ": " : "", arg ? arg : "");
	return 1;
}

static const struct command *find_command(const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

/* The journal may hold a newer superblock; what can't be opened is shown as it lies there. */
static int run(struct dump *d, const struct command *c, struct json_object *o)
{
	int err = tfs_super_read(d->bdev, -1, &d->super, &d->geom, d->why, sizeof(d->why));

	if (err)
		return err;
	if (c->fn != dump_journal)
		err = dump_open_fs(d, c->needs == NEEDS_FILES);
	if (err)
		d->fs = NULL;
	if (err && c->needs != NEEDS_SUPER)
		return err;
	if (err)
		dump_str(o, "note", d->why);
	if (d->fs) {
		d->super = d->fs->super;
		d->geom = d->fs->geom;
	}
	return c->fn(d, o);
}

/* Damage met on the way is told with the file it belongs to, by the command. */
static void log_other(enum log_level lvl, const char *line)
{
	if (lvl <= LOG_LVL_WARN && !strstr(line, ": damaged block: "))
		fprintf(stderr, PROGRAM ": %s\n", line); /* escaped already */
}

static int show(struct dump *d, const struct command *c, bool json)
{
	struct json_object *o = cli_json_begin(PROGRAM);
	int err;

	if (c->needs == NEEDS_FILES)
		log_set_hook(log_other);
	dump_str(o, "shows", c->name);
	d->json = json;
	err = dump_open_image(d, false);
	if (!err)
		err = run(d, c, o);
	if (!err && !c->no_json)
		err = dump_print(d, o);
	json_object_put(o);
	if (d->later_free)
		d->later_free(d->later_arg);
	dump_close(d);
	if (err)
		text_err(PROGRAM ": %s: %s", d->path, d->why[0] ? d->why : strerror(-err));
	return err || d->incomplete;
}

static int udev(struct dump *d)
{
	int err = dump_open_image(d, true);

	if (!err)
		err = tfs_super_read(d->bdev, 0, &d->super, &d->geom, d->why, sizeof(d->why));
	if (!err)
		dump_print_udev(&d->super);
	else
		text_err(PROGRAM ": %s: %s", d->path, d->why);
	dump_close(d);
	return err ? 1 : 0;
}

static int read_number(struct dump *d, const char *arg)
{
	char *end;

	errno = 0;
	d->n = strtoull(arg, &end, 0);
	if (errno || *end || !arg[0] || arg[0] == '-')
		return fail("not a number", arg);
	return 0;
}

static int dispatch(int argc, char **argv, bool json, bool for_udev)
{
	struct dump d = { 0 };
	const struct command *c;
	unsigned int nr, max, i;

	if (argc < 1)
		return fail("which DEVICE or FILE? (see --help)", NULL);
	d.path = argv[0];
	if (for_udev)
		return argc > 1 ? fail("too many arguments", argv[1]) : udev(&d);
	if (argc < 2)
		return fail("which command? super, inode, ls or another (see --help)", NULL);
	c = find_command(argv[1]);
	if (!c)
		return fail("unknown command (see --help)", argv[1]);
	nr = (unsigned int)argc - 2;
	max = c->max_args + c->number;
	if (c->number && !nr)
		return fail("a number is missing behind it", c->name);
	if (nr < c->min_args)
		return fail(c->min_args == 2 ? "PATH and DIRECTORY go behind it"
					     : "PATH is missing behind it",
			    c->name);
	if (nr > max)
		return fail("too many arguments", argv[2 + max]);
	if (c->no_json && json)
		return fail("there is no JSON of that", c->name);
	if (c->number && read_number(&d, argv[2]))
		return 1;
	for (i = 0; i < nr && !c->number; i++)
		d.args[i] = argv[2 + i];
	return show(&d, c, json);
}

int main(int argc, char **argv)
{
	bool json = false, for_udev = false;
	int c, ret;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":", long_options, NULL)) >= 0) {
		switch (c) {
		case OPT_JSON:
			json = true;
			break;
		case OPT_UDEV:
			for_udev = true;
			break;
		case OPT_HELP:
			fputs(usage_text, stdout);
			return 0;
		case OPT_VERSION:
			text_out(PROGRAM " %s", TALLYFS_VERSION);
			return 0;
		default:
			cli_option_error(PROGRAM, c, argv);
			return 1;
		}
	}
	log_init(PROGRAM, false, LOG_LVL_WARN);
	ret = blk_init(1);
	if (ret)
		return fail(strerror(-ret), NULL);
	ret = iomap_ioend_init();
	if (ret) {
		blk_exit();
		return fail(strerror(-ret), NULL);
	}
	ret = dispatch(argc - optind, argv + optind, json, for_udev);
	iomap_ioend_exit();
	blk_exit();
	return ret;
}
