/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The FUSE kernel ABI: what <linux/fuse.h> of the build machine may be too old to
 * have.  The kernel that runs decides at INIT; nothing here is used unless it
 * offered it.
 */
#ifndef FS_FUSE_ABI_H
#define FS_FUSE_ABI_H

#include <stdint.h>

#include <linux/fuse.h>

/* Opcodes; plain numbers, because enumerators cannot be tested for. */
#define ABI_SYNCFS 50
#define ABI_TMPFILE 51
#define ABI_STATX 52

/* INIT, flags. */
#define ABI_INIT_SETXATTR_EXT (1u << 29)
/* INIT, flags2 (bits 32 and up of the flags). */
#define ABI_INIT_EXT (1u << 30)
#define ABI2_DIRECT_IO_ALLOW_MMAP (1u << (36 - 32))

/* open_flags of an OPEN or CREATE reply. */
#define ABI_FOPEN_KEEP_CACHE (1u << 1)
#define ABI_FOPEN_PARALLEL_DIRECT_WRITES (1u << 6)

/* With ABI_INIT_SETXATTR_EXT; without it, the first two. */
struct abi_setxattr_in {
	uint32_t size;
	uint32_t flags;
	uint32_t setxattr_flags;
	uint32_t padding;
};
#define ABI_SETXATTR_SHORT 8u
#define ABI_SETXATTR_ACL_KILL_SGID (1u << 0)

struct abi_statx_in {
	uint32_t getattr_flags;
	uint32_t reserved;
	uint64_t fh;
	uint32_t sx_flags;
	uint32_t sx_mask;
};

struct abi_sx_time {
	int64_t sec;
	uint32_t nsec;
	int32_t reserved;
};

struct abi_statx {
	uint32_t mask;
	uint32_t blksize;
	uint64_t attributes;
	uint32_t nlink;
	uint32_t uid;
	uint32_t gid;
	uint16_t mode;
	uint16_t spare0[1];
	uint64_t ino;
	uint64_t size;
	uint64_t blocks;
	uint64_t attributes_mask;
	struct abi_sx_time atime, btime, ctime, mtime;
	uint32_t rdev_major;
	uint32_t rdev_minor;
	uint32_t dev_major;
	uint32_t dev_minor;
	uint64_t spare2[14];
};
_Static_assert(sizeof(struct abi_statx) == 256, "kernel ABI");

struct abi_statx_out {
	uint64_t attr_valid;
	uint32_t attr_valid_nsec;
	uint32_t flags;
	uint64_t spare[2];
	struct abi_statx stat;
};

#endif
