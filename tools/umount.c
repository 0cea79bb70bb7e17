/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * umount.fuse.tallyfs: what umount(8) calls for mounts of type fuse.tallyfs.  On a
 * plain FUSE mount umount(2) returns while the daemon still writes; this waits.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/lib/text.h"
#include "common/mounts.h"

#define WHO "umount.fuse.tallyfs"

enum { EXIT_OK = 0, EXIT_USAGE = 1, EXIT_SYSTEM = 2, EXIT_UMOUNT = 32 };

static void usage(void)
{
	printf("Usage: " WHO " [-flnrv] MOUNTPOINT\n"
	       "Unmount a tallyfs and wait until its image is closed.\n\n"
	       "  -f         force, as in umount(8)\n"
	       "  -l         lazy, as in umount(8); does not wait\n"
	       "  -n, -r, -N NAMESPACE, -t TYPE\n"
	       "             accepted, without effect\n"
	       "  -v         verbose\n"
	       "  --help     this text\n"
	       "  --version  the version\n\n"
	       "Exit status: 0 unmounted and closed, 1 usage error or not permitted, 2 system "
	       "error, 32 not "
	       "unmounted.\n");
}

static int bad(const char *what)
{
	text_err(WHO ": %s; usage: " WHO " [-flnrv] MOUNTPOINT", what);
	return EXIT_USAGE;
}

/* False: an unknown letter. */
static bool take_letters(const char *letters, unsigned int *flags)
{
	for (; *letters; letters++) {
		if (*letters == 'f')
			*flags |= MOUNTS_FORCE;
		else if (*letters == 'l')
			*flags |= MOUNTS_LAZY;
		else if (*letters == 'v')
			*flags |= MOUNTS_VERBOSE;
		else if (*letters != 'n' && *letters != 'r')
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	const char *mountpoint = NULL;
	unsigned int flags = 0;
	int i, err;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help")) {
			usage();
			return EXIT_OK;
		}
		if (!strcmp(argv[i], "--version")) {
			text_out(WHO " %s", TALLYFS_VERSION);
			return EXIT_OK;
		}
		/* umount(8) names the type and the namespace. */
		if (!strcmp(argv[i], "-t") || !strcmp(argv[i], "-N"))
			i++;
		else if (argv[i][0] == '-' && argv[i][1] == '-' && !argv[i][2])
			continue;
		else if (argv[i][0] == '-' && !take_letters(argv[i] + 1, &flags))
			return bad("unknown option");
		else if (argv[i][0] != '-' && mountpoint)
			return bad("one mount point at a time");
		else if (argv[i][0] != '-')
			mountpoint = argv[i];
	}
	if (!mountpoint)
		return bad("no mount point given");
	err = mounts_unmount(WHO, mountpoint, flags);
	if (!err)
		return EXIT_OK;
	if (err == -EPERM)
		return EXIT_USAGE;
	return err == -ENOMEM ? EXIT_SYSTEM : EXIT_UMOUNT;
}
