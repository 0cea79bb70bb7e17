/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tallydump: show the structures and files of an unmounted tallyfs.  Nothing is written to it, a
 * pending journal is replayed in memory.
 */
#include <blkid.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uuid/uuid.h>
#include "common/explain.h"
#include "core/block/bdev.h"
#include "core/block/bio.h"
#include "core/iomap/iomap.h"
#include "core/lib/log.h"
#include "core/lib/text.h"
#include "core/lib/util.h"
#include "fs/disk/super.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"
#include "fs/vfs/fs_open.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tools/dump.h"

#define PROGRAM "tallydump"
#define CACHE_BYTES (64u << 20)

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

/* ---- what the commands use ---- */

int dump_fail(struct dump *d, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(d->why, sizeof(d->why), fmt, ap);
	va_end(ap);
	return err;
}

void dump_u64(struct json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}

void dump_str(struct json_object *o, const char *key, const char *v)
{
	json_object_object_add(o, key, json_object_new_string(v));
}

void dump_time(struct json_object *o, const char *key, uint64_t sec, uint32_t nsec)
{
	time_t t = (time_t)sec;
	char buf[64], all[96];
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(buf, sizeof(buf), "%Y-%m-%dT%H:%M:%S", &tm))
		snprintf(buf, sizeof(buf), "%" PRId64, (int64_t)sec);
	snprintf(all, sizeof(all), "%s.%09uZ", buf, nsec);
	dump_str(o, key, all);
}

struct json_object *dump_array(struct json_object *o, const char *key)
{
	struct json_object *a = json_object_new_array();

	json_object_object_add(o, key, a);
	return a;
}

struct json_object *dump_row(struct json_object *array)
{
	struct json_object *o = json_object_new_object();

	json_object_array_add(array, o);
	return o;
}

int dump_section(struct dump *d, int (*fn)(struct tfs_trans *t, struct dump *d, void *arg),
		 void *arg)
{
	return TRANS_READ(t, d->fs, fn(t, d, arg));
}

/* ---- text ---- */

static bool is_one_word(const char *s)
{
	size_t left = strlen(s), n;
	uint32_t c = 0;

	if (!left)
		return false;
	for (; left; s += n, left -= n) {
		n = text_char(s, left, &c);
		if (!n || c == ' ' || c == '"' || c == '\\' || !text_is_plain(c))
			return false;
	}
	return true;
}

static void print_value(struct json_object *v)
{
	/* quoted as JSON has it when it is not plain */
	if (json_object_is_type(v, json_type_string) && is_one_word(json_object_get_string(v)))
		fputs(json_object_get_string(v), stdout);
	else
		cli_json_print(v);
}

static void print_row(struct json_object *row)
{
	fputs("   ", stdout);
	if (json_object_is_type(row, json_type_object)) {
		json_object_object_foreach(row, key, v)
		{
			printf(" %s=", key); /* keys are ours */
			print_value(v);
		}
	} else {
		putchar(' ');
		print_value(row);
	}
	putchar('\n');
}

static void print_rows(struct json_object *array)
{
	size_t i, n = json_object_array_length(array);

	for (i = 0; i < n; i++)
		print_row(json_object_array_get_idx(array, i));
}

static void print_text(struct json_object *o)
{
	json_object_object_foreach(o, key, v)
	{
		if (!strcmp(key, "tallyfs_json") || !strcmp(key, "command"))
			continue;
		if (json_object_is_type(v, json_type_array)) {
			text_out("%s:", key);
			print_rows(v);
			continue;
		}
		printf("%-18s ", key);
		print_value(v);
		putchar('\n');
	}
}

/* ---- rows that are too many to keep ---- */

void dump_later(struct dump *d, const char *key, dump_rows_fn *rows)
{
	assert(d->nr_later < ARRAY_SIZE(d->later));
	d->later[d->nr_later].key = key;
	d->later[d->nr_later++].rows = rows;
}

void dump_emit(struct dump *d, struct json_object *row)
{
	if (!d->json) {
		print_row(row);
	} else {
		if (d->nr_emitted++)
			putchar(',');
		cli_json_print(row);
	}
	json_object_put(row);
}

/* One line of JSON, or text: the object, and what comes later.  A failure there leaves what was
 * printed well formed. */
static int print_all(struct dump *d, struct json_object *o)
{
	char before = '{';
	int err = 0;

	if (!d->json) {
		print_text(o);
	} else {
		json_object_object_foreach(o, key, v)
		{
			printf("%c\"%s\":", before, key);
			cli_json_print(v);
			before = ',';
		}
	}
	for (unsigned int i = 0; i < d->nr_later && !err; i++) {
		if (d->json)
			printf(",\"%s\":[", d->later[i].key);
		else
			printf("%s:\n", d->later[i].key);
		d->nr_emitted = 0;
		err = d->later[i].rows(d, d->later_arg);
		if (d->json)
			putchar(']');
	}
	if (d->json)
		puts("}");
	fflush(stdout);
	return err;
}

/* ---- udev ---- */

/* libblkid takes all UTF-8 for harmless. */
static bool has_hidden(const char *s)
{
	size_t left = strlen(s), n;
	uint32_t c = 0;

	for (; left; s += n, left -= n) {
		n = text_char(s, left, &c);
		if (n && c >= 0x80 && !text_is_plain(c))
			return true;
		n = n ? n : 1;
	}
	return false;
}

static void encode_hidden(const char *s, char *safe, char *encoded)
{
	for (; *s; s++) {
		bool plain = isalnum((unsigned char)*s);

		*safe++ = plain ? *s : '_';
		encoded += plain ? sprintf(encoded, "%c", *s)
				 : sprintf(encoded, "\\x%02x", (unsigned char)*s);
	}
	*safe = *encoded = '\0';
}

static void print_encoded(const char *key, const char *value)
{
	char safe[TFS_LABEL_MAX * 4 + 1], encoded[TFS_LABEL_MAX * 4 + 1];

	if (!*value)
		return;
	if (has_hidden(value))
		encode_hidden(value, safe, encoded);
	else if (blkid_safe_string(value, safe, sizeof(safe)) ||
		 blkid_encode_string(value, encoded, sizeof(encoded)))
		return;
	/* udev takes the backslashes of the one, and there are none in the other */
	printf("%s=%s\n%s_ENC=%s\n", key, safe, key, encoded);
}

static void print_udev(const struct tfs_super *s)
{
	char uuid[37], label[TFS_LABEL_MAX + 1] = "";

	uuid_unparse_lower(s->uuid, uuid);
	memcpy(label, s->label, strnlen((const char *)s->label, TFS_LABEL_MAX));
	puts("ID_FS_TYPE=tallyfs\nID_FS_USAGE=filesystem");
	print_encoded("ID_FS_UUID", uuid);
	print_encoded("ID_FS_LABEL", label);
}

/* ---- main ---- */

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

static int open_image(struct dump *d, bool udev)
{
	/* a udev rule looks at devices that others have open */
	unsigned int flags = BDEV_OPEN_RDONLY | BDEV_OPEN_NO_URING | BDEV_OPEN_BUFFERED |
			     (udev ? BDEV_OPEN_NO_LOCK : BDEV_OPEN_WAIT);
	int err = bdev_open(d->path, flags, &d->bdev);

	char why[PATH_MAX + 256];

	if (!err)
		return 0;
	explain_open(why, sizeof(why), d->path, err, NULL);
	return dump_fail(d, err, "%s", why);
}

static int open_fs(struct dump *d, bool files)
{
	struct tfs_mount_opts o = { .ro = true, .no_threads = true, .cache_size = CACHE_BYTES };

	if (files)
		return vfs_mount(d->bdev, &o, &d->fs, d->why, sizeof(d->why));
	return tfs_open(d->bdev, &o, &d->fs, d->why, sizeof(d->why));
}

/* The journal may hold a newer superblock; what can't be opened is shown as it lies there. */
static int run(struct dump *d, const struct command *c, struct json_object *o)
{
	int err = tfs_super_read(d->bdev, -1, &d->super, &d->geom, d->why, sizeof(d->why));

	if (err)
		return err;
	if (c->fn != dump_journal)
		err = open_fs(d, c->needs == NEEDS_FILES);
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

static void close_all(struct dump *d)
{
	if (d->fs && d->fs->pagecache)
		vfs_unmount(d->fs);
	else if (d->fs)
		tfs_close_nosave(d->fs);
	if (d->bdev)
		bdev_close(d->bdev);
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
	err = open_image(d, false);
	if (!err)
		err = run(d, c, o);
	if (!err && !c->no_json)
		err = print_all(d, o);
	json_object_put(o);
	if (d->later_free)
		d->later_free(d->later_arg);
	close_all(d);
	if (err)
		text_err(PROGRAM ": %s: %s", d->path, d->why[0] ? d->why : strerror(-err));
	return err || d->incomplete;
}

static int udev(struct dump *d)
{
	int err = open_image(d, true);

	if (!err)
		err = tfs_super_read(d->bdev, 0, &d->super, &d->geom, d->why, sizeof(d->why));
	if (!err)
		print_udev(&d->super);
	else
		text_err(PROGRAM ": %s: %s", d->path, d->why);
	close_all(d);
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
