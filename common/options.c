/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of tallyfs and mount.tallyfs. */
#include "common/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cli.h"
#include "core/lib/memlimit.h"
#include "core/lib/util.h"
#include "fs/state/fs.h"

#define MIB (1ull << 20)
#define CACHE_MIN MIB
#define DIRTY_MIN (MIB / 4)
#define THREADS_MAX 256
#define COMMIT_MAX 300

const char options_help[] =
	"Mount options (-o):\n"
	"  ro                   read only; nothing is written to the device\n"
	"  norecovery           with ro: do not replay the journal\n"
	"  cache_size=SIZE      memory for file data (RAM/16, within 64M to 512M; a quarter of "
	"what limits allow)\n"
	"  dirty_size=SIZE      of it, at most this waits to be written (a quarter)\n"
	"  commit=SECONDS       how often changes are made durable by themselves (5)\n"
	"  threads=N            threads that answer requests (number of CPUs)\n"
	"  verify=on|off        off: file data is not verified; for measurements only\n"
	"  errors=remount-ro|continue|abort\n"
	"                       what to do when the file system is found inconsistent "
	"(remount-ro)\n"
	"  allow_other          let other users in (default for root)\n"
	"  nosuid, nodev        do not honour set-user-ID bits, device nodes (ordinary users: "
	"always)\n"
	"  writeback_cache, no_writeback_cache\n"
	"                       whether the kernel gathers writes (writeback_cache)\n"
	"and the generic ones of mount(8).\n";

static int complain(char *why, size_t len, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static int complain(char *why, size_t len, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, len, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

void options_init(struct options *o)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	memset(o, 0, sizeof(*o));
	o->threads = cpus < 1 ? 1 : (unsigned int)min_t(long, cpus, THREADS_MAX);
	o->root = geteuid() == 0;
	o->writeback_cache = true;
	o->fs.commit_interval = 5;
	o->fs.errors = TFS_ERRORS_REMOUNT_RO;
	o->fs.cache_size = memlimit_default_cache();
}

static int parse_number(const char *s, unsigned int min, unsigned int max, unsigned int *out)
{
	unsigned long v;
	char *end;

	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	errno = 0;
	v = strtoul(s, &end, 10);
	if (errno || *end || v < min || v > max)
		return -EINVAL;
	*out = (unsigned int)v;
	return 0;
}

/* Options without a value that are ours. */
static bool parse_word(struct options *o, const char *name)
{
	if (!strcmp(name, "ro")) {
		o->fs.ro = true;
	} else if (!strcmp(name, "rw")) {
		o->fs.ro = false;
	} else if (!strcmp(name, "norecovery")) {
		o->fs.norecovery = true;
	} else if (!strcmp(name, "allow_other")) {
		o->allow_other = true;
		o->allow_other_set = true;
	} else if (!strcmp(name, "writeback_cache")) {
		o->writeback_cache = true;
	} else if (!strcmp(name, "no_writeback_cache")) {
		o->writeback_cache = false;
	} else if (!strcmp(name, "remount")) {
		o->remount = true;
	} else if (!strcmp(name, "sloppy")) {
		o->sloppy = true;
	} else {
		return false;
	}
	return true;
}

static int parse_size_option(const char *name, const char *value, uint64_t min, uint64_t *out,
			     char *why, size_t why_len)
{
	if (!cli_parse_size(value, out))
		return complain(
			why, why_len,
			"%s=%s: not a size; give bytes or a number with K, M, G or T, like 64M",
			name, value);
	if (*out < min)
		return complain(why, why_len, "%s=%s: too small; at least %llu%c", name, value,
				(unsigned long long)(min >= 1 << 20 ? min >> 20 : min >> 10),
				min >= 1 << 20 ? 'M' : 'K');
	return 0;
}

static int parse_errors(struct options *o, const char *value, char *why, size_t why_len)
{
	if (!strcmp(value, "remount-ro"))
		o->fs.errors = TFS_ERRORS_REMOUNT_RO;
	else if (!strcmp(value, "continue"))
		o->fs.errors = TFS_ERRORS_CONTINUE;
	else if (!strcmp(value, "abort"))
		o->fs.errors = TFS_ERRORS_ABORT;
	else
		return complain(why, why_len, "errors=%s: must be remount-ro, continue or abort",
				value);
	return 0;
}

/* Options with a value that are ours.  1: not one of them. */
static int parse_value(struct options *o, const char *name, const char *value, char *why,
		       size_t why_len)
{
	if (!strcmp(name, "cache_size"))
		return parse_size_option(name, value, CACHE_MIN, &o->fs.cache_size, why, why_len);
	if (!strcmp(name, "dirty_size"))
		return parse_size_option(name, value, DIRTY_MIN, &o->fs.dirty_size, why, why_len);
	if (!strcmp(name, "commit")) {
		if (parse_number(value, 1, COMMIT_MAX, &o->fs.commit_interval))
			return complain(why, why_len, "commit=%s: must be 1 to %d seconds", value,
					COMMIT_MAX);
		return 0;
	}
	if (!strcmp(name, "threads")) {
		if (parse_number(value, 1, THREADS_MAX, &o->threads))
			return complain(why, why_len, "threads=%s: must be 1 to %d", value,
					THREADS_MAX);
		return 0;
	}
	if (!strcmp(name, "verify")) {
		if (strcmp(value, "on") && strcmp(value, "off"))
			return complain(why, why_len, "verify=%s: must be on or off", value);
		o->fs.no_verify = !strcmp(value, "off");
		return 0;
	}
	if (!strcmp(name, "errors"))
		return parse_errors(o, value, why, why_len);
	return 1;
}

static bool in_list(const char *name, const char *const *list, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (!strcmp(name, list[i]))
			return true;
	return false;
}

/* Meant for others (mount(8), fstab, systemd), what the mount table shows, or what this file system
 * does anyway. */
static bool is_for_others(const char *name)
{
	static const char *const dropped[] = {
		"defaults",	 "auto",     "noauto",	   "nofail",
		"_netdev",	 "user",     "nouser",	   "users",
		"owner",	 "noowner",  "group",	   "nogroup",
		"async",	 "atime",    "noatime",	   "nodiratime",
		"diratime",	 "relatime", "norelatime", "strictatime",
		"nostrictatime", "lazytime", "nolazytime", "silent",
		"loud",		 "mand",     "nomand",	   "loop",
		"user_id",	 "group_id", "blksize",	   "default_permissions",
	};

	return in_list(name, dropped, ARRAY_SIZE(dropped)) || !strncmp(name, "x-", 2) ||
	       !strncmp(name, "X-", 2);
}

/* For the kernel. */
static bool is_kernel_word(const char *name)
{
	static const char *const passed[] = { "suid", "nosuid", "dev",	"nodev",
					      "exec", "noexec", "sync", "dirsync" };

	return in_list(name, passed, ARRAY_SIZE(passed));
}

/* "context=..." and its like. */
static bool is_selinux_context(const char *name)
{
	return !strncmp(name, "context=", 8) || !strncmp(name, "fscontext=", 10) ||
	       !strncmp(name, "defcontext=", 11) || !strncmp(name, "rootcontext=", 12);
}

static int pass_on(struct options *o, const char *name, char *why, size_t why_len)
{
	size_t used = strlen(o->kernel);
	int n = snprintf(o->kernel + used, sizeof(o->kernel) - used, "%s%s", used ? "," : "", name);

	return n < (int)(sizeof(o->kernel) - used)
		       ? 0
		       : complain(why, why_len, "too many mount options");
}

static int parse_one(struct options *o, char *name, char *why, size_t why_len)
{
	static const char *const valued_words[] = {
		"ro", "rw", "norecovery", "allow_other", "writeback_cache", "no_writeback_cache"
	};
	static const char *const valued[] = { "cache_size", "dirty_size", "commit",
					      "threads",    "verify",	  "errors" };
	char *value = strchr(name, '=');
	int err;

	if (!value) {
		if (!*name || parse_word(o, name) || is_for_others(name))
			return 0;
		if (is_kernel_word(name))
			return pass_on(o, name, why, why_len);
		if (in_list(name, valued, ARRAY_SIZE(valued)))
			return complain(why, why_len, "mount option %s needs a value: %s=...", name,
					name);
	} else {
		*value = '\0';
		err = parse_value(o, name, value + 1, why, why_len);
		if (err <= 0)
			return err;
		if (is_for_others(name) || !strcmp(name, "comment"))
			return 0;
		if (in_list(name, valued_words, ARRAY_SIZE(valued_words)))
			return complain(why, why_len, "mount option %s takes no value", name);
		*value = '=';
		if (is_selinux_context(name))
			return pass_on(o, name, why, why_len);
	}
	if (o->sloppy)
		return 0;
	return complain(why, why_len, "unknown mount option '%s'; see tallyfs --help", name);
}

int options_parse_list(struct options *o, const char *list, char *why, size_t why_len)
{
	char *copy, *rest, *one;
	size_t len = strlen(list) + 1;
	int err = 0;

	copy = tl_alloc(len);
	if (!copy) {
		complain(why, why_len, "out of memory");
		return -ENOMEM;
	}
	memcpy(copy, list, len);
	rest = copy;
	while (!err && (one = strsep(&rest, ",")))
		err = parse_one(o, one, why, why_len);
	tl_free(copy);
	return err;
}

static int parse_flag_letters(struct options *o, const char *letters, char *why, size_t why_len)
{
	const char *c;

	for (c = letters; *c; c++) {
		if (*c == 'f')
			o->foreground = true;
		else if (*c == 'd')
			o->foreground = o->debug = true;
		else if (*c == 'h')
			o->help = true;
		else if (*c == 'V')
			o->version = true;
		else
			return complain(why, why_len, "unknown option -%c; see tallyfs --help", *c);
	}
	return 0;
}

/* Options may stand before, between and behind the two operands, as mount(8) puts them. */
int options_parse_args(struct options *o, int argc, char **argv, char *why, size_t why_len)
{
	bool only_operands = false;
	int i, err = 0;

	for (i = 1; i < argc && !err; i++) {
		char *a = argv[i];

		if (only_operands || a[0] != '-' || !a[1]) {
			if (!o->source)
				o->source = a;
			else if (!o->mountpoint)
				o->mountpoint = a;
			else
				return complain(why, why_len,
						"'%s': too many arguments; usage: tallyfs [-df] "
						"[-o OPTIONS] "
						"DEVICE|FILE MOUNTPOINT",
						a);
		} else if (!strcmp(a, "--")) {
			only_operands = true;
		} else if (!strcmp(a, "--help")) {
			o->help = true;
		} else if (!strcmp(a, "--version")) {
			o->version = true;
		} else if (a[1] == '-') {
			return complain(why, why_len, "unknown option %s; see tallyfs --help", a);
		} else if (a[1] == 'o') {
			const char *list = a[2] ? a + 2 : argv[++i];

			if (!list)
				return complain(why, why_len, "-o needs a list of mount options");
			err = options_parse_list(o, list, why, why_len);
		} else {
			err = parse_flag_letters(o, a + 1, why, why_len);
		}
	}
	return err;
}

/* @word is among those for the kernel, and @opposite not behind it. */
static bool kernel_word_wins(const struct options *o, const char *word, const char *opposite)
{
	size_t len = strlen(word), other = strlen(opposite), n;
	const char *p = o->kernel;
	bool wins = false;

	for (; *p; p += n + (p[n] == ',')) {
		n = strcspn(p, ",");
		if (n == len && !strncmp(p, word, n))
			wins = true;
		else if (n == other && !strncmp(p, opposite, n))
			wins = false;
	}
	return wins;
}

int options_check(struct options *o, char *why, size_t why_len)
{
	if (!o->source || !o->mountpoint)
		return complain(why, why_len,
				"usage: tallyfs [-df] [-o OPTIONS] DEVICE|FILE MOUNTPOINT");
	if (o->remount)
		return complain(why, why_len,
				"remount: a mounted tallyfs cannot be changed; unmount it and "
				"mount it again");
	if (o->fs.norecovery && !o->fs.ro)
		return complain(why, why_len, "norecovery works with ro only");
	if (!o->root &&
	    (kernel_word_wins(o, "suid", "nosuid") || kernel_word_wins(o, "dev", "nodev")))
		return complain(why, why_len,
				"only root can mount with suid or dev; what others mount is "
				"nosuid,nodev: leave them out");
	if (!o->fs.dirty_size)
		o->fs.dirty_size = max_t(uint64_t, o->fs.cache_size / 4, DIRTY_MIN);
	if (o->fs.dirty_size > o->fs.cache_size)
		return complain(why, why_len, "dirty_size is larger than cache_size (%lluM)",
				(unsigned long long)(o->fs.cache_size / MIB));
	if (!o->allow_other_set)
		o->allow_other = o->root;
	return 0;
}
