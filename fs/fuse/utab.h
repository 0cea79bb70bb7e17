/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An entry in libmount's table of user-space mount options, so that umount(8) calls
 * umount.fuse.tallyfs.  Without one, umount(8) asks statfs(2) for the type,
 * gets "fuse", finds no helper of that name, and returns while we still write.
 */
#ifndef FS_FUSE_UTAB_H
#define FS_FUSE_UTAB_H

/* As root only; a failure changes nothing but that, so there is no error. */
void utab_add(const char *source, const char *mountpoint);
void utab_remove(const char *mountpoint);

#endif
