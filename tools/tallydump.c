/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tallydump: show the structures of an unmounted tallyfs.  Nothing is written, a pending journal is replayed in memory.
 */
#include <blkid.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <uuid/uuid.h>
#include "core/bio.h"
#include "core/log.h"
#include "tools/dump.h"

#define PROGRAM "tallydump"

static const char usage_text[] = "Usage: tallydump [--json] DEVICE|FILE COMMAND [N]\n"
				 "       tallydump --udev DEVICE|FILE\n"
				 "Show the structures of an unmounted tallyfs.  Writes nothing.\n"
				 "\n"
				 "Commands:\n"
				 "  super       the superblock\n"
				 "  group N     the header of allocation group N\n"
				 "  tuple N     the tuple of block N\n"
				 "  node N      the tree node at block N\n"
				 "  inode N     inode N and what belongs to it\n"
				 "  extents N   where the data of inode N is\n"
				 "  journal     the journal's headers and the transactions in it\n"
				 "\n"
				 "  --json      as JSON\n"
				 "  --udev      lines ID_FS_TYPE, ID_FS_UUID, ID_FS_LABEL for a udev rule\n"
				 "  --help      this text\n"
				 "  --version   version\n"
				 "\n"
				 "Exit status: 0 shown, 1 usage error, not a tallyfs, damaged or not there.\n";

static const struct command {
	const char *name;
	dump_fn *fn;
	bool number;
	bool open; /* needs all of the file system, not only its superblock */
} commands[] = {
	{ "super", dump_super, false, false },	   { "group", dump_group, true, true },
	{ "tuple", dump_tuple, true, true },	   { "node", dump_node, true, true },
	{ "inode", dump_inode, true, true },	   { "extents", dump_extents, true, true },
	{ "journal", dump_journal, false, false },
};
static const char *const later[] = { "block", "ls", "cat", "extract" };

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

int dump_section(struct dump *d, int (*fn)(struct tfs_trans *t, struct dump *d, void *arg), void *arg)
{
	struct tfs_trans t;
	int err;

	do {
		trans_read_begin(&t, d->fs);
		err = fn(&t, d, arg);
	} while (trans_again(&t, &err));
	return err;
}

/* ---- text ---- */

static void print_value(struct json_object *v)
{
	if (json_object_is_type(v, json_type_string)) {
		/* quoted as JSON has it when it is not plain */
		const char *s = json_object_get_string(v), *p;

		for (p = s; *p > ' ' && *p != '"' && *p != '\\' && *p != 0x7f; p++)
			;
		if (!*p && p != s) {
			fputs(s, stdout);
			return;
		}
	}
	fputs(json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE), stdout);
}

static void print_rows(struct json_object *array)
{
	size_t i, n = json_object_array_length(array);
	struct json_object *row;

	for (i = 0; i < n; i++) {
		row = json_object_array_get_idx(array, i);
		fputs("   ", stdout);
		if (json_object_is_type(row, json_type_object)) {
			json_object_object_foreach(row, key, v)
			{
				printf(" %s=", key);
				print_value(v);
			}
		} else {
			putchar(' ');
			print_value(row);
		}
		putchar('\n');
	}
}

static void print_text(struct json_object *o)
{
	json_object_object_foreach(o, key, v)
	{
		if (!strcmp(key, "tallyfs_json") || !strcmp(key, "command"))
			continue;
		if (json_object_is_type(v, json_type_array)) {
			printf("%s:\n", key);
			print_rows(v);
			continue;
		}
		printf("%-18s ", key);
		print_value(v);
		putchar('\n');
	}
}

/* ---- udev ---- */

static void print_encoded(const char *key, const char *value)
{
	char buf[TFS_LABEL_MAX * 4 + 1];

	if (!*value)
		return;
	if (!blkid_safe_string(value, buf, sizeof(buf)))
		printf("%s=%s\n", key, buf);
	if (!blkid_encode_string(value, buf, sizeof(buf)))
		printf("%s_ENC=%s\n", key, buf);
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
	fprintf(stderr, PROGRAM ": %s%s%s\n", what, arg ? ": " : "", arg ? arg : "");
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

static int no_command(const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(later); i++)
		if (!strcmp(later[i], name))
			return fail("not in this version", name);
	return fail("unknown command (see --help)", name);
}

static int open_image(struct dump *d, bool udev)
{
	/* a udev rule looks at devices that others have open */
	unsigned int flags =
		BDEV_OPEN_RDONLY | BDEV_OPEN_NO_URING | BDEV_OPEN_BUFFERED | (udev ? BDEV_OPEN_NO_LOCK : 0);
	int err = bdev_open(d->path, flags, &d->bdev);

	return err ? dump_fail(d, err, "%s", bdev_open_error(err)) : 0;
}

static int open_fs(struct dump *d)
{
	struct tfs_mount_opts o = { .ro = true, .no_threads = true };

	return tfs_open(d->bdev, &o, &d->fs, d->why, sizeof(d->why));
}

/* The journal may hold a newer superblock; what can't be opened is shown as it lies there. */
static int run(struct dump *d, const struct command *c, struct json_object *o)
{
	int err = tfs_super_read(d->bdev, -1, &d->super, &d->geom, d->why, sizeof(d->why));

	if (err)
		return err;
	if (c->fn != dump_journal)
		err = open_fs(d);
	if (err && c->open)
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
	if (d->fs)
		tfs_close_nosave(d->fs);
	if (d->bdev)
		bdev_close(d->bdev);
}

static int show(struct dump *d, const struct command *c, bool json)
{
	struct json_object *o = cli_json_begin(PROGRAM);
	int err;

	dump_str(o, "shows", c->name);
	err = open_image(d, false);
	if (!err)
		err = run(d, c, o);
	close_all(d);
	if (err) {
		json_object_put(o);
		fprintf(stderr, PROGRAM ": %s: %s\n", d->path, d->why[0] ? d->why : strerror(-err));
		return 1;
	}
	if (json) {
		cli_json_end(o);
	} else {
		print_text(o);
		json_object_put(o);
	}
	return 0;
}

static int udev(struct dump *d)
{
	int err = open_image(d, true);

	if (!err)
		err = tfs_super_read(d->bdev, 0, &d->super, &d->geom, d->why, sizeof(d->why));
	if (!err)
		print_udev(&d->super);
	else
		fprintf(stderr, PROGRAM ": %s: %s\n", d->path, d->why);
	close_all(d);
	return err ? 1 : 0;
}

static int dispatch(int argc, char **argv, bool json, bool for_udev)
{
	struct dump d = { 0 };
	const struct command *c;
	char *end;

	if (argc < 1)
		return fail("which DEVICE or FILE? (see --help)", NULL);
	d.path = argv[0];
	if (for_udev)
		return argc > 1 ? fail("too many arguments", argv[1]) : udev(&d);
	if (argc < 2)
		return fail("which command? super, group, tuple, node, inode, extents or journal (see --help)", NULL);
	c = find_command(argv[1]);
	if (!c)
		return no_command(argv[1]);
	if (c->number && argc < 3)
		return fail("a number is missing behind it", c->name);
	if (argc > (c->number ? 3 : 2))
		return fail("too many arguments", argv[c->number ? 3 : 2]);
	if (c->number) {
		errno = 0;
		d.n = strtoull(argv[2], &end, 0);
		if (errno || *end || !argv[2][0] || argv[2][0] == '-')
			return fail("not a number", argv[2]);
	}
	return show(&d, c, json);
}

int main(int argc, char **argv)
{
	bool json = false, for_udev = false;
	int c, ret;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) >= 0) {
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
			puts(PROGRAM " " TALLYFS_VERSION);
			return 0;
		default:
			return 1;
		}
	}
	log_init(PROGRAM, false, LOG_LVL_WARN);
	ret = blk_init(1);
	if (ret)
		return fail(strerror(-ret), NULL);
	ret = dispatch(argc - optind, argv + optind, json, for_udev);
	blk_exit();
	return ret;
}
