/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fsck.tallyfs.  This version checks; it does not repair.  What -p and -y may do
 * safely is what every mount does: replay the journal, and write anew what it and the superblocks
 * have in copies.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "common/cli.h"
#include "common/explain.h"
#include "core/block/bdev.h"
#include "core/block/bio.h"
#include "core/lib/log.h"
#include "core/lib/text.h"
#include "core/lib/util.h"
#include "fs/disk/geom.h"
#include "fs/disk/super.h"
#include "fs/journal/journal.h"
#include "fs/journal/recover.h"
#include "fs/vfs/admit.h"
#include "fsck/check.h"
#include "tallyfs/format.h"

enum {
	EXIT_CLEAN = 0,
	EXIT_CORRECTED = 1,
	EXIT_UNCORRECTED = 4,
	EXIT_OPERATIONAL = 8,
	EXIT_USAGE = 16,
	EXIT_CANCELLED = 32,
};

static struct {
	bool no, preen, yes, force, verify_data, verbose, json;
	int progress_fd; /* -C: lines "pass cur max device" here; -1: none */
	int super;	 /* -b */
	enum cli_progress_mode progress;
	const char *device;
} opt = { .progress_fd = -1, .super = -1 };

static struct cli_progress bar;
static volatile sig_atomic_t interrupted;

static const char usage_text[] =
	"Usage: fsck.tallyfs [OPTION]... DEVICE|FILE\n"
	"Check a tallyfs.  This version finds damage and names it; it mends superblocks and the "
	"journal, no more yet.\n"
	"\n"
	"Without -n, -p, -a and -y it checks as with -n.\n"
	"\n"
	"  -n                 check everything, write nothing (the journal is replayed in memory)\n"
	"  -p, -a             for boot: replay the journal; check fully only if errors were seen\n"
	"  -y                 as -p -f\n"
	"  -f                 with -p: check fully even if it looks clean\n"
	"  -C[FD]             progress as lines \"pass cur max device\" on descriptor FD (default "
	"1)\n"
	"  -b 0|1|2           use the primary superblock (0) or this copy, not the first good one\n"
	"  -v                 more output: notes and totals\n"
	"      --verify-data  read every data block and compare it with its tuple\n"
	"      --json         results as JSON lines\n"
	"      --progress=auto|always|never\n"
	"                     a progress bar on stderr (default auto: on a terminal)\n"
	"  -V, --version      version\n"
	"      --help         this text\n"
	"\n"
	"Exit status: 0 clean, 1 errors corrected, 4 errors left uncorrected, 8 operational error, "
	"16 usage,\n"
	"32 cancelled.\n";

enum { OPT_VERIFY = 256, OPT_JSON, OPT_PROGRESS, OPT_HELP };

static const struct option long_options[] = {
	{ "verify-data", no_argument, NULL, OPT_VERIFY },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "progress", required_argument, NULL, OPT_PROGRESS },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, OPT_HELP },
	{ 0 },
};

static int usage_error(const char *msg, const char *arg)
{
	text_err("fsck.tallyfs: %s%s%s (try --help)", msg, arg ? ": " : "", arg ? arg : "");
	return EXIT_USAGE;
}

/* -1: go on; else the exit status. */
static int parse_option(int c, char **argv)
{
	char *end;

	switch (c) {
	case 'n':
		opt.no = true;
		break;
	case 'p':
	case 'a':
		opt.preen = true;
		break;
	case 'y':
		opt.yes = true;
		break;
	case 'f':
		opt.force = true;
		break;
	case 'v':
		opt.verbose = true;
		break;
	case 'C':
		opt.progress_fd = optarg ? (int)strtol(optarg, &end, 10) : 1;
		if (optarg && (*end || opt.progress_fd < 0))
			return usage_error("-C takes a file descriptor, not", optarg);
		break;
	case 'b':
		opt.super = (int)strtol(optarg, &end, 10);
		if (*end || opt.super < 0 || opt.super > 2)
			return usage_error("-b takes 0 (primary), 1 or 2, not", optarg);
		break;
	case OPT_VERIFY:
		opt.verify_data = true;
		break;
	case OPT_JSON:
		opt.json = true;
		break;
	case OPT_PROGRESS:
		if (!cli_parse_progress(optarg, &opt.progress))
			return usage_error("--progress takes auto, always or never, not", optarg);
		break;
	case 'V':
		text_out("fsck.tallyfs %s", TALLYFS_VERSION);
		return EXIT_CLEAN;
	case OPT_HELP:
		fputs(usage_text, stdout);
		return EXIT_CLEAN;
	default:
		cli_option_error("fsck.tallyfs", c, argv);
		return EXIT_USAGE;
	}
	return -1;
}

static int parse(int argc, char **argv)
{
	int c, ret;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":npayfvC::b:V", long_options, NULL)) != -1) {
		ret = parse_option(c, argv);
		if (ret >= 0)
			return ret;
	}
	if (opt.no + opt.preen + opt.yes > 1)
		return usage_error("only one of -n, -p (-a) and -y can be given", NULL);
	if (optind == argc)
		return usage_error("which device or file?", NULL);
	if (optind + 1 < argc)
		return usage_error("one device or file only; did not expect", argv[optind + 1]);
	opt.device = argv[optind];
	return -1;
}

static void on_signal(int sig)
{
	interrupted = sig;
}

static void report(void *arg, const struct check_problem *p)
{
	static const char *const word[] = { "note", "leak", "error" };
	struct json_object *o;

	if (interrupted)
		return;
	if (opt.json) {
		o = json_object_new_object();
		json_object_object_add(o, "message_type", json_object_new_string("problem"));
		json_object_object_add(o, "severity", json_object_new_string(word[p->severity]));
		json_object_object_add(o, "code", json_object_new_string(p->code));
		if (p->ino)
			json_object_object_add(o, "inode", json_object_new_uint64(p->ino));
		if (p->block != UINT64_MAX)
			json_object_object_add(o, "block", json_object_new_uint64(p->block));
		if (p->path)
			cli_json_path(o, "path", p->path, strlen(p->path));
		cli_json_path(o, "text", p->text, strlen(p->text));
		cli_json_end(o);
		return;
	}
	cli_progress_clear(&bar);
	if (p->severity != CHECK_NOTE || opt.verbose || !strcmp(p->code, "journal-pending"))
		text_out("%s: %s: %s", opt.device, word[p->severity], p->text);
}

static bool progress(void *arg, const char *phase, uint64_t done, uint64_t total)
{
	static const char *const passes[] = { "groups", "trees", "tuples", "data" };
	static uint64_t last;
	bool bytes = !strcmp(phase, "data") || !strcmp(phase, "tuples");
	char device[1024];

	if (interrupted)
		return false;
	cli_progress_update(&bar, phase, done, total, bytes);
	/* at most a thousand lines a pass */
	if (opt.progress_fd >= 0 && (done < last || done - last > total / 1000 || done >= total)) {
		text_escape(device, sizeof(device), opt.device, strlen(opt.device));
		for (size_t i = 0; i < ARRAY_SIZE(passes); i++)
			if (!strcmp(phase, passes[i]))
				dprintf(opt.progress_fd, "%zu %llu %llu %s\n", i + 1,
					(unsigned long long)done, (unsigned long long)total,
					device);
		last = done;
	}
	return true;
}

static void summary_json(const struct check_result *r, int status)
{
	struct json_object *o = cli_json_begin("fsck");

	json_object_object_add(o, "message_type", json_object_new_string("summary"));
	cli_json_path(o, "device", opt.device, strlen(opt.device));
	json_object_object_add(o, "exit_status", json_object_new_int(status));
	json_object_object_add(o, "clean", json_object_new_boolean(status == EXIT_CLEAN));
	json_object_object_add(o, "errors", json_object_new_uint64(r->errors));
	json_object_object_add(o, "leaks", json_object_new_uint64(r->leaks));
	json_object_object_add(o, "journal_pending", json_object_new_boolean(r->journal_pending));
	json_object_object_add(o, "inodes", json_object_new_uint64(r->inodes));
	json_object_object_add(o, "directories", json_object_new_uint64(r->directories));
	json_object_object_add(o, "files", json_object_new_uint64(r->files));
	json_object_object_add(o, "orphans", json_object_new_uint64(r->orphans));
	json_object_object_add(o, "extents", json_object_new_uint64(r->extents));
	json_object_object_add(o, "tree_nodes", json_object_new_uint64(r->nodes));
	json_object_object_add(o, "data_blocks", json_object_new_uint64(r->data_blocks));
	json_object_object_add(o, "bad_data_blocks", json_object_new_uint64(r->bad_data_blocks));
	json_object_object_add(o, "verified_bytes", json_object_new_uint64(r->verified_bytes));
	cli_json_end(o);
}

static void summary(const struct check_result *r, int status)
{
	char size[32], verified[64] = "";

	if (opt.json) {
		summary_json(r, status);
		return;
	}
	if (opt.verify_data)
		snprintf(verified, sizeof(verified), ", %s of data verified",
			 cli_size(r->verified_bytes, size, sizeof(size)));
	if (status == EXIT_CLEAN)
		text_out("%s: clean, %llu inodes, %llu data blocks%s", opt.device,
			 (unsigned long long)r->inodes, (unsigned long long)r->data_blocks,
			 verified);
	else
		text_out("%s: NOT CLEAN: %llu errors, %llu leaks; %llu inodes, %llu data blocks%s",
			 opt.device, (unsigned long long)r->errors, (unsigned long long)r->leaks,
			 (unsigned long long)r->inodes, (unsigned long long)r->data_blocks,
			 verified);
	if (opt.verbose)
		text_out("%s: %llu directories, %llu files, %llu orphans, %llu extents, %llu tree "
			 "nodes",
			 opt.device, (unsigned long long)r->directories,
			 (unsigned long long)r->files, (unsigned long long)r->orphans,
			 (unsigned long long)r->extents, (unsigned long long)r->nodes);
}

/* No check, or none to the end.  @status. */
static int no_result(int status, const char *what)
{
	struct json_object *o;

	if (opt.json) {
		o = cli_json_begin("fsck");
		json_object_object_add(o, "message_type", json_object_new_string("summary"));
		cli_json_path(o, "device", opt.device, strlen(opt.device));
		json_object_object_add(o, "exit_status", json_object_new_int(status));
		json_object_object_add(o, "clean", json_object_new_boolean(false));
		cli_json_path(o, "error", what, strlen(what));
		cli_json_end(o);
	}
	text_err("fsck.tallyfs: %s: %s", opt.device, what);
	return status;
}

static int operational(const char *what)
{
	return no_result(EXIT_OPERATIONAL, what);
}

static int cancelled(void)
{
	return no_result(EXIT_CANCELLED, "interrupted; not checked to the end");
}

static int open_device(unsigned int flags, struct bdev **b)
{
	char why[PATH_MAX + 256], busy_by[LOCKHOLDER_TEXT];
	int err = bdev_open_by(opt.device, flags | BDEV_OPEN_WAIT, b, busy_by);

	if (err && interrupted)
		return cancelled();
	if (!err)
		return 0;
	explain_open(why, sizeof(why), opt.device, err, busy_by,
		     flags & BDEV_OPEN_RDONLY ? NULL : "-n checks without writing");
	return operational(why);
}

/* 0 or an exit status. */
static int apply(struct bdev *b, const struct tfs_super *super, const struct tfs_geom *geom,
		 struct tfs_recovery *rec, bool *mended)
{
	bool pending = rec->pending, mends = journal_recovery_mends(rec);
	int err;

	if (rec->corrupt || (!pending && !mends))
		return 0;
	err = journal_recover_apply(b, super, geom, rec);
	if (err)
		return operational(strerror(-err));
	*mended = mends;
	if (pending && !opt.json)
		text_out("%s: journal replayed", opt.device);
	if (mends && !opt.json)
		text_out("%s: damaged superblocks or journal blocks were written anew", opt.device);
	return 0;
}

/* -p and -y: what a mount would do first. */
static int replay(bool *errors_seen, bool *mended)
{
	struct tfs_recovery rec = { 0 };
	struct tfs_super super = { 0 };
	struct tfs_geom geom;
	struct bdev *b;
	char why[300];
	int err, ret = open_device(0, &b);

	if (ret)
		return ret;
	err = tfs_admit(b, opt.super, ADMIT_WRITE, &super, &geom, &rec, why, sizeof(why));
	if (err)
		ret = no_result(err == -EUCLEAN ? EXIT_UNCORRECTED : EXIT_OPERATIONAL, why);
	else
		ret = apply(b, &super, &geom, &rec, mended);
	*errors_seen = rec.corrupt || *mended || le32_get(super.state) & TFS_STATE_ERRORS;
	journal_recovery_free(&rec);
	bdev_close(b);
	return ret;
}

/* Without a full check, say what a mount would find. */
static int quick_line(void)
{
	struct check_result r = { 0 };
	struct tfs_super super;
	struct tfs_geom geom;
	struct bdev *b;
	char why[300];
	int ret = open_device(BDEV_OPEN_RDONLY, &b);

	if (ret)
		return ret;
	if (tfs_super_read(b, opt.super, &super, &geom, why, sizeof(why))) {
		bdev_close(b);
		return no_result(EXIT_UNCORRECTED, why);
	}
	bdev_close(b);
	r.inodes = le64_get(super.nr_inodes);
	r.data_blocks = le64_get(super.data_blocks);
	opt.verify_data = false;
	summary(&r, EXIT_CLEAN);
	return EXIT_CLEAN;
}

/* Data was bad once, and has not been looked at now: "clean" alone would mislead. */
static void note_mismatches(struct bdev *b)
{
	struct tfs_super super;
	struct tfs_geom geom;
	char why[300];

	if (opt.json || opt.verify_data ||
	    tfs_super_read(b, opt.super, &super, &geom, why, sizeof(why)) ||
	    !le64_get(super.mismatches))
		return;
	text_out("%s: blocks did not match while it was mounted: use --verify-data to check what "
		 "files hold",
		 opt.device);
}

static int full_check(void)
{
	struct check_opts co = { .verify_data = opt.verify_data,
				 .report = report,
				 .progress = progress,
				 .super = (unsigned int)(opt.super + 1) };
	struct check_result res;
	struct bdev *b;
	char why[300] = "";
	int err, ret = open_device(BDEV_OPEN_RDONLY, &b);

	if (ret)
		return ret;
	cli_progress_init(&bar, opt.progress, opt.json);
	err = tfs_check_device(b, &co, &res, why, sizeof(why));
	cli_progress_clear(&bar);
	if (!err && !interrupted)
		note_mismatches(b);
	bdev_close(b);
	if (interrupted || err == -ECANCELED)
		return cancelled();
	if (err == -EUCLEAN)
		return no_result(EXIT_UNCORRECTED, why);
	if (err)
		return operational(why);
	ret = res.errors || res.leaks ? EXIT_UNCORRECTED : EXIT_CLEAN;
	summary(&res, ret);
	if (ret && !opt.no && !opt.json)
		text_err("fsck.tallyfs: %s: this version cannot repair; copy what can be read and "
			 "restore the rest",
			 opt.device);
	return ret;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_signal };
	bool errors_seen = true, mended = false;
	int ret = parse(argc, argv);

	if (ret >= 0)
		return ret;
	log_init("fsck.tallyfs", false, LOG_LVL_WARN);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	ret = blk_init(1);
	if (ret)
		return operational(strerror(-ret));
	if (opt.preen || opt.yes)
		ret = replay(&errors_seen, &mended);
	if (!ret && interrupted)
		ret = cancelled();
	if (!ret)
		ret = opt.preen && !opt.force && !errors_seen && !opt.verify_data ? quick_line()
										  : full_check();
	blk_exit();
	if (mended && (ret == EXIT_CLEAN || ret == EXIT_UNCORRECTED))
		ret |= EXIT_CORRECTED;
	return ret;
}
