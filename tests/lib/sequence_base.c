/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What each sequence begins with: two directories, three files, of different makes. */
#include "fs/vfs/mkfs.h"
#include "fs/vfs/vfs.h"
#include "tests/lib/fixture.h"
#include "tests/lib/sequence_priv.h"

uint64_t seq_base_bytes(uint32_t block_size)
{
	return (block_size > 1024 ? 4u : 2u) << 20;
}

static void fill(struct tfs_fs *fs)
{
	static const char *const steps[] = {
		"mkdir A",
		"mkdir B",
		"mkdir B/e",
		"creat A/x", /* three blocks of 4 KiB and a part */
		"write A/x 0 14000",
		"setxattr A/x 20",
		"creat A/y", /* in the tree */
		"write A/y 0 300",
		"creat B/z", /* shares blocks with A/x */
		"copy A/x 0 B/z 0 8192",
		"sync",
	};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		FX_OK(seq_step(fs, NULL, steps[i]));
}

void seq_base_make(struct bdev *b, uint32_t block_size)
{
	struct tfs_format_opts o = { .block_size = block_size,
				     .node_size = block_size > 1024 ? 8192 : 4096,
				     .blocks_per_group = (1u << 20) / block_size,
				     .journal_bytes = (block_size > 1024 ? 500u : 360u) << 10,
				     .test_seed = 4711 };
	struct tfs_mount_opts mo = { .no_threads = true, .cache_size = 4u << 20 };
	struct tfs_fs *fs;
	char why[300] = "";

	fx_format_as(b, &o);
	FX_OK(vfs_mount(b, &mo, &fs, why, sizeof(why)));
	fill(fs);
	FX_OK(vfs_unmount(fs));
}
