/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tallyctl: talks to a mounted tallyfs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/lib/text.h"
#include "tallyfs/ctl.h"
#include "tools/ctl.h"
#include "common/explain.h"
#include "common/mounts.h"

static void usage(void)
{
	printf("Usage: tallyctl [--json] status [-v] [--check] MOUNTPOINT|DEVICE|FILE\n"
	       "       tallyctl sync MOUNTPOINT\n"
	       "       tallyctl [--json] extents FILE\n"
	       "       tallyctl unshare FILE\n"
	       "       tallyctl umount [-f] MOUNTPOINT\n\n"
	       "  status     size, health, and what to do, of a mount, device or image\n"
	       "  sync       make everything written so far durable\n"
	       "  extents    which parts of a file are where, and which other files have too\n"
	       "  unshare    give a file blocks of its own for all that it shares with others\n"
	       "  umount     have everything written, unmount, and wait until the image is "
	       "closed\n\n"
	       "  -f         with umount: give up what can't be written\n"
	       "  -v         with status: everything that is counted, as tallyctl(8) explains\n"
	       "  --check    with status: exit 0 healthy, 1 could not tell, 3 damage is known\n"
	       "  --json     results as a JSON object\n"
	       "  --help     this text\n"
	       "  --version  the version\n\n"
	       "Exit status: 0 done, 1 usage error, or not done, 3 status --check only: damage is "
	       "known.\n");
}

int ctl_fail(const char *what, const char *why)
{
	text_err("tallyctl: %s: %s", what, why);
	return CTL_FAIL;
}

int ctl_open_mount(const char *path, struct mount_entry *m)
{
	int err = mounts_find(path, m), fd;

	if (err) {
		ctl_fail(path, err == -ENOENT ? "no tallyfs is mounted there" : explain_path(err));
		return -1;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		ctl_fail(path, explain_path(-errno));
	return fd;
}

static int do_sync(const struct ctl_request *r)
{
	struct mount_entry m;
	int fd = ctl_open_mount(r->target, &m), code = CTL_OK;

	if (fd < 0)
		return CTL_FAIL;
	if (ioctl(fd, TALLY_IOC_SYNC))
		code = ctl_fail(r->target, explain_path(-errno));
	close(fd);
	return code;
}

static int do_umount(const struct ctl_request *r)
{
	return mounts_unmount("tallyctl", r->target, r->force ? MOUNTS_FORCE : 0) ? CTL_FAIL
										  : CTL_OK;
}

static int usage_error(const char *what)
{
	text_err("tallyctl: %s; usage: tallyctl status|sync|umount MOUNTPOINT, or extents|unshare "
		 "FILE (see "
		 "tallyctl --help)",
		 what);
	return CTL_FAIL;
}

static bool in_later_version(const char *command)
{
	static const char *const later[] = { "scrub", "damaged", "clear" };
	size_t i;

	for (i = 0; i < sizeof(later) / sizeof(later[0]); i++)
		if (!strcmp(command, later[i]))
			return true;
	return false;
}

static int run(const struct ctl_request *r)
{
	static const struct {
		const char *name;
		bool on_file;
		int (*run)(const struct ctl_request *r);
	} commands[] = {
		{ "status", false, ctl_status },  { "sync", false, do_sync },
		{ "umount", false, do_umount },	  { "unshare", true, ctl_unshare },
		{ "extents", true, ctl_extents },
	};
	size_t i;

	if (!r->command)
		return usage_error("no command given");
	if (in_later_version(r->command))
		return ctl_fail(r->command, "not in this version of tallyfs");
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(r->command, commands[i].name))
			break;
	if (i == sizeof(commands) / sizeof(commands[0])) {
		text_err("tallyctl: unknown command '%s'; see tallyctl --help", r->command);
		return CTL_FAIL;
	}
	if (!r->target)
		return usage_error(commands[i].on_file ? "no file given" : "no mount point given");
	if ((r->check || r->verbose) && strcmp(r->command, "status"))
		return usage_error("-v and --check go with status only");
	if (r->force && strcmp(r->command, "umount"))
		return usage_error("-f goes with umount only");
	return commands[i].run(r);
}

int main(int argc, char **argv)
{
	struct ctl_request r = { 0 };
	int i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help")) {
			usage();
			return CTL_OK;
		}
		if (!strcmp(argv[i], "--version")) {
			text_out("tallyctl %s", TALLYFS_VERSION);
			return CTL_OK;
		}
		if (!strcmp(argv[i], "--json"))
			r.json = true;
		else if (!strcmp(argv[i], "--check"))
			r.check = true;
		else if (!strcmp(argv[i], "-v"))
			r.verbose = true;
		else if (!strcmp(argv[i], "-f"))
			r.force = true;
		else if (argv[i][0] == '-')
			return usage_error("unknown option");
		else if (!r.command)
			r.command = argv[i];
		else if (!r.target)
			r.target = argv[i];
		else if (!in_later_version(r.command))
			return usage_error("too many arguments");
	}
	return run(&r);
}
