/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mount.tallyfs: what mount(8) calls for "mount -t tallyfs" and for fstab lines.  It
 * checks the options, runs tallyfs(8), and turns its result into mount's exit codes.
 */
#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/lib/text.h"
#include "common/options.h"
#include "tools/remount.h"

#define WHO "mount.tallyfs"
#define MAX_OPTION_LISTS 32

enum { EXIT_OK = 0, EXIT_USAGE = 1, EXIT_SYSTEM = 2, EXIT_MOUNT = 32 };

extern char **environ;

struct request {
	struct options opts;
	const char *source, *mountpoint;
	const char *lists[MAX_OPTION_LISTS];
	int nr_lists;
	bool fake, verbose;
	char why[512];
};

static void usage(void)
{
	printf("Usage: " WHO " DEVICE|FILE MOUNTPOINT [-fnsv] [-o OPTIONS]\n"
	       "Helper of mount(8); runs tallyfs(8).\n\n"
	       "  -f         fake: check the arguments, do not mount\n"
	       "  -n, -N NAMESPACE, -t TYPE\n"
	       "             accepted, without effect\n"
	       "  -o OPTIONS mount options, separated by commas\n"
	       "  -s         sloppy: leave out unknown options\n"
	       "  -v         verbose: print the command that is run\n"
	       "  --help     this text\n"
	       "  --version  the version\n\n"
	       "%s\n"
	       "Exit status: 0 mounted, 1 usage error, 2 system error, 32 the mount failed.\n",
	       options_help);
}

static int bad(const char *why)
{
	text_err(WHO ": %s", why);
	return EXIT_USAGE;
}

/* A word that is no option. */
static bool take_word(struct request *r, const char *word)
{
	if (!r->source)
		r->source = word;
	else if (!r->mountpoint)
		r->mountpoint = word;
	else
		return false;
	return true;
}

/* @value may be NULL. */
static bool take_value(struct request *r, char letter, const char *value)
{
	if (!value || r->nr_lists == MAX_OPTION_LISTS)
		return false;
	/* the type and the namespace are known */
	if (letter == 'o')
		r->lists[r->nr_lists++] = value;
	return true;
}

/* The option letters of argv[*at]; one that takes a value has the rest, or the next argument. */
static bool take_letters(struct request *r, char **argv, int *at)
{
	for (const char *c = argv[*at] + 1; *c; c++) {
		switch (*c) {
		case 'f':
			r->fake = true;
			break;
		case 's':
			r->opts.sloppy = true;
			break;
		case 'v':
			r->verbose = true;
			break;
		case 'n':
			break;
		case 'o':
		case 't':
		case 'N':
			return take_value(r, *c, c[1] ? c + 1 : argv[++*at]);
		default:
			return false;
		}
	}
	return true;
}

/* False, with r->why: not understood. */
static bool parse(struct request *r, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		char *a = argv[i];
		bool option = a[0] == '-' && a[1];

		if (option ? take_letters(r, argv, &i) : take_word(r, a))
			continue;
		snprintf(r->why, sizeof(r->why),
			 "unexpected '%s'; usage: " WHO
			 " DEVICE|FILE MOUNTPOINT [-fnsv] [-o OPTIONS]",
			 a);
		return false;
	}
	if (!r->mountpoint)
		snprintf(r->why, sizeof(r->why),
			 "usage: " WHO " DEVICE|FILE MOUNTPOINT [-fnsv] [-o OPTIONS]");
	return r->mountpoint;
}

static bool check_options(struct request *r)
{
	bool remount;
	int i;

	for (i = 0; i < r->nr_lists; i++)
		if (options_parse_list(&r->opts, r->lists[i], r->why, sizeof(r->why)))
			return false;
	r->opts.source = r->source;
	r->opts.mountpoint = r->mountpoint;
	remount = r->opts.remount;
	r->opts.remount = false;
	if (options_check(&r->opts, r->why, sizeof(r->why)))
		return false;
	r->opts.remount = remount;
	return true;
}

/* Our own options: what they were set to at the mount only the daemon knows, and it does not change
 * them. */
static bool names_own_option(const struct request *r)
{
	static const char *const own[] = { "cache_size=",     "dirty_size=", "commit=",
					   "threads=",	      "verify=",     "errors=",
					   "writeback_cache", "norecovery" };
	size_t k;
	int i;

	for (i = 0; i < r->nr_lists; i++)
		for (k = 0; k < sizeof(own) / sizeof(own[0]); k++)
			if (strstr(r->lists[i], own[k]))
				return true;
	return false;
}

/* A second daemon is never started. */
static int change_mount(const struct request *r)
{
	if (remount(WHO, r->mountpoint, &r->opts, r->fake))
		return EXIT_MOUNT;
	if (names_own_option(r))
		text_err(WHO ": remount: tallyfs keeps its own options (cache_size= and so on) "
			     "until %s is "
			     "mounted again",
			 r->mountpoint);
	return EXIT_OK;
}

/* tallyfs lies beside this program, whatever link it was called by; else it is looked for in
 * PATH. */
static const char *daemon_path(char *buf, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", buf, size - sizeof("tallyfs"));
	char *slash;

	if (n <= 0)
		return "tallyfs";
	buf[n] = '\0';
	slash = strrchr(buf, '/');
	if (!slash)
		return "tallyfs";
	strcpy(slash + 1, "tallyfs");
	return access(buf, X_OK) ? "tallyfs" : buf;
}

/* Words that are no plain ones are quoted by their escapes only: it is to be read, not to be
 * run. */
static void print_command(char **argv)
{
	char line[8192];
	size_t n = 0;

	for (; *argv && n < sizeof(line); argv++)
		n += (size_t)snprintf(line + n, sizeof(line) - n, "%s%s", n ? " " : "", *argv);
	text_out("%s", line);
	fflush(stdout);
}

/* What tallyfs gets: the options that were understood, with those for others left out by its own
 * parser. */
static int run_daemon(const struct request *r)
{
	char path[PATH_MAX], *argv[2 * MAX_OPTION_LISTS + 5];
	int i, n = 0, status, err;
	pid_t pid;

	argv[n++] = (char *)daemon_path(path, sizeof(path));
	if (r->opts.sloppy) {
		argv[n++] = "-o";
		argv[n++] = "sloppy";
	}
	for (i = 0; i < r->nr_lists; i++) {
		argv[n++] = "-o";
		argv[n++] = (char *)r->lists[i];
	}
	argv[n++] = (char *)r->source;
	argv[n++] = (char *)r->mountpoint;
	argv[n] = NULL;
	if (r->verbose)
		print_command(argv);
	if (r->fake)
		return EXIT_OK;
	err = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
	if (err) {
		text_err(WHO ": cannot run %s: %s", argv[0], strerror(err));
		return EXIT_SYSTEM;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return EXIT_SYSTEM;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? EXIT_OK : EXIT_MOUNT;
}

int main(int argc, char **argv)
{
	static struct request r;
	int i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help")) {
			usage();
			return EXIT_OK;
		}
		if (!strcmp(argv[i], "--version")) {
			text_out(WHO " %s", TALLYFS_VERSION);
			return EXIT_OK;
		}
	}
	options_init(&r.opts);
	if (!parse(&r, argc, argv) || !check_options(&r))
		return bad(r.why);
	return r.opts.remount ? change_mount(&r) : run_daemon(&r);
}
