/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What people type: mount options, sizes, and the numbers mkfs is given.  Input: which of them, and
 * the text.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/cli.h"
#include "common/options.h"
#include "fs/disk/super.h"
#include "fs/vfs/mkfs.h"
#include "fsck/check.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/undodev.h"

#define ARGS_MAX 16
#define DEVICE_BYTES (16u << 20)

static struct options defaults;
static struct bdev *dev;

static void parsed(int err, struct options *o, const char *why)
{
	if (err && err != -EINVAL)
		fuzz_die("options: %d", err);
	if (err && !*why)
		fuzz_die("refused, and nobody says why");
	if (err)
		return;
	if (o->threads < 1 || o->threads > 256 || o->fs.commit_interval < 1 ||
	    o->fs.commit_interval > 300 || o->fs.cache_size < 1u << 20)
		fuzz_die("options out of their bounds");
	if (!memchr(o->kernel, 0, sizeof(o->kernel)))
		fuzz_die("the kernel's options have no end");
}

static void mount_list(const char *text)
{
	struct options o = defaults;
	char why[300] = "";

	parsed(options_parse_list(&o, text, why, sizeof(why)), &o, why);
}

/* Words apart by newlines, as a command line. */
static void command_line(char *text)
{
	char *argv[ARGS_MAX + 2] = { "tallyfs" }, why[300] = "", *rest = text;
	struct options o = defaults;
	int argc = 1, err;

	while (rest && argc <= ARGS_MAX)
		argv[argc++] = strsep(&rest, "\n");
	err = options_parse_args(&o, argc, argv, why, sizeof(why));
	parsed(err, &o, why);
	if (err || o.help || o.version)
		return;
	err = options_check(&o, why, sizeof(why));
	parsed(err, &o, why);
	if (!err && (o.fs.dirty_size > o.fs.cache_size || !o.source || !o.mountpoint))
		fuzz_die("options that contradict each other");
}

/* Another reader of sizes, to compare. */
static bool size_model(const char *s, uint64_t *bytes)
{
	static const char suffixes[] = "KMGT";
	unsigned __int128 v = 0;
	size_t digits = strspn(s, "0123456789");
	const char *unit;

	for (size_t k = 0; k < digits; k++) {
		v = v * 10 + (unsigned int)(s[k] - '0');
		if (v > UINT64_MAX)
			return false;
	}
	if (!digits)
		return false;
	if (s[digits]) {
		unit = strchr(suffixes, s[digits] & ~0x20);
		if (s[digits + 1] || !unit || !*unit)
			return false;
		v <<= 10 * (unit - suffixes + 1);
	}
	if (v > UINT64_MAX)
		return false;
	*bytes = (uint64_t)v;
	return true;
}

static void size(const char *text)
{
	uint64_t got = 0, want = 0;
	char buf[32];

	if (cli_parse_size(text, &got) != size_model(text, &want) || got != want)
		fuzz_die("size '%s': %" PRIu64 ", not %" PRIu64, text, got, want);
	if (strlen(cli_size(got, buf, sizeof(buf))) >= sizeof(buf))
		fuzz_die("a size of %zu characters", strlen(buf));
}

static void report(void *arg, const struct check_problem *p)
{
	if (p->severity != CHECK_NOTE)
		fuzz_die("after mkfs: %s: %s", p->code, p->text);
}

/* Numbers as mkfs gets them; what it accepts, it makes, and that is clean. */
static void format(struct fuzz_in *in)
{
	struct tfs_format_opts o = { .test_seed = 1 };
	struct check_opts co = { .verify_data = true, .report = report };
	struct check_result r;
	struct tfs_super super;
	struct tfs_geom geom;
	char why[300] = "";
	uint8_t bits = (uint8_t)fuzz_get(in, 1);

	o.block_size = bits & 1 ? (uint32_t)fuzz_get(in, 4) : 1024u << fuzz_get(in, 1) % 8;
	o.node_size = bits & 2 ? (uint32_t)fuzz_get(in, 4) : 4096u << fuzz_get(in, 1) % 6;
	o.blocks_per_group = bits & 4 ? (uint32_t)fuzz_get(in, 4) : 8 * (uint32_t)fuzz_get(in, 2);
	o.journal_bytes = bits & 8 ? fuzz_get(in, 8) : fuzz_get(in, 2) << 10;
	o.size = bits & 16 ? fuzz_get(in, 8) : fuzz_get(in, 2) << 10;
	o.guard = (enum tfs_guard)(bits >> 5 & 3);
	undodev_reset(dev);
	if (tfs_format_plan(dev, &o, &super, &geom, why, sizeof(why))) {
		if (!*why)
			fuzz_die("refused, and nobody says why");
		return;
	}
	if (tfs_super_check(&super, why, sizeof(why)) && super.csum.v)
		fuzz_die("a superblock that nobody takes: %s", why);
	if (tfs_format_write(dev, &o, &super, &geom))
		fuzz_die("what was planned cannot be written");
	if (tfs_check_device(dev, &co, &r, why, sizeof(why)))
		fuzz_die("after mkfs: %s", why);
	fuzz_quiet();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_init();
	/* the same on every machine */
	defaults = (struct options){ .threads = 2,
				     .root = true,
				     .writeback_cache = true,
				     .fs = { .commit_interval = 5, .cache_size = 64u << 20 } };
	dev = undodev_create(DEVICE_BYTES);
	undodev_keep(dev);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct fuzz_in in = { data, n };
	uint8_t which = (uint8_t)fuzz_get(&in, 1) % 4;
	char *text = malloc(in.left + 1);

	if (!text)
		fuzz_die("out of memory");
	if (in.left)
		memcpy(text, in.p, in.left);
	text[in.left] = '\0';
	if (which == 0)
		mount_list(text);
	else if (which == 1)
		command_line(text);
	else if (which == 2)
		size(text);
	else
		format(&in);
	free(text);
	return 0;
}
