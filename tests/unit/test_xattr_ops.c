/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/vfs/xattr_ops.c */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"

static struct fixture fx;
static uint64_t ino;

static void setup(void)
{
	fx_init();
	fx_create(&fx, FX_SMALL);
	ino = fx_file(&fx, "a", NULL);
}

static void teardown(void)
{
	fx_destroy(&fx);
	fx_exit();
}

TestSuite(xattr_ops, .init = setup, .fini = teardown, .timeout = 900);

Test(xattr_ops, set_get_list_remove)
{
	char buf[100];

	FX_OK(vfs_setxattr(fx.fs, ino, "user.one", "1", 1, 0, &fx_root));
	FX_OK(vfs_setxattr(fx.fs, ino, "user.two", "22", 2, XATTR_CREATE, &fx_root));
	cr_assert_eq(vfs_setxattr(fx.fs, ino, "user.two", "x", 1, XATTR_CREATE, &fx_root), -EEXIST);
	cr_assert_eq(vfs_setxattr(fx.fs, ino, "user.three", "x", 1, XATTR_REPLACE, &fx_root),
		     -ENODATA);
	FX_OK(vfs_setxattr(fx.fs, ino, "user.one", "eins", 4, XATTR_REPLACE, &fx_root));
	fx_remount(&fx);
	cr_assert_eq(vfs_getxattr(fx.fs, ino, "user.one", buf, sizeof(buf)), 4);
	cr_assert_eq(memcmp(buf, "eins", 4), 0);
	cr_assert_eq(vfs_getxattr(fx.fs, ino, "user.one", buf, 3), -ERANGE);
	cr_assert_eq(vfs_getxattr(fx.fs, ino, "user.one", NULL, 0), 4);
	cr_assert_eq(vfs_getxattr(fx.fs, ino, "user.none", buf, 9), -ENODATA);
	cr_assert_eq(vfs_listxattr(fx.fs, ino, NULL, 0), 18);
	cr_assert_eq(vfs_listxattr(fx.fs, ino, buf, 17), -ERANGE);
	cr_assert_eq(vfs_listxattr(fx.fs, ino, buf, sizeof(buf)), 18);
	FX_OK(vfs_removexattr(fx.fs, ino, "user.one", &fx_root));
	cr_assert_eq(vfs_removexattr(fx.fs, ino, "user.one", &fx_root), -ENODATA);
	cr_assert_eq(vfs_listxattr(fx.fs, ino, buf, sizeof(buf)), 9);
}

Test(xattr_ops, big_values_replaced)
{
	static char value[TFS_XATTR_MAX + 1], buf[TFS_XATTR_MAX];

	for (int k = 1; k < 6; k++) {
		memset(value, k, sizeof(value));
		FX_OK(vfs_setxattr(fx.fs, ino, "user.big", value, TFS_XATTR_MAX - (size_t)k * 1000,
				   0, &fx_root));
	}
	cr_assert_eq(vfs_setxattr(fx.fs, ino, "user.big", value, sizeof(value), 0, &fx_root),
		     -E2BIG);
	fx_remount(&fx);
	cr_assert_eq(vfs_getxattr(fx.fs, ino, "user.big", buf, sizeof(buf)),
		     (int)TFS_XATTR_MAX - 5000);
	for (size_t k = 0; k < TFS_XATTR_MAX - 5000; k++)
		cr_assert_eq(buf[k], 5);
	FX_OK(vfs_setxattr(fx.fs, ino, "user.big", "s", 1, 0, &fx_root));
	cr_assert_eq(vfs_getxattr(fx.fs, ino, "user.big", buf, sizeof(buf)), 1);
}

Test(xattr_ops, names)
{
	char name[400];

	memset(name, 'n', sizeof(name));
	memcpy(name, "user.", 5);
	name[256] = '\0';
	cr_assert_eq(vfs_setxattr(fx.fs, ino, name, "x", 1, 0, &fx_root), -ERANGE);
	name[255] = '\0';
	FX_OK(vfs_setxattr(fx.fs, ino, name, "x", 1, 0, &fx_root));
	cr_assert_eq(vfs_setxattr(fx.fs, ino, "user.", "x", 1, 0, &fx_root), -EINVAL);
	cr_assert_eq(vfs_setxattr(fx.fs, ino, "else.x", "x", 1, 0, &fx_root), -EOPNOTSUPP);
	cr_assert_eq(vfs_setxattr(fx.fs, 12345, "user.x", "x", 1, 0, &fx_root), -ESTALE);
}

/* Of system. there are the ACLs, and nothing else. */
Test(xattr_ops, system_is_for_acls)
{
	char buf[8];

	cr_assert_eq(vfs_setxattr(fx.fs, ino, "system.x", "1", 1, 0, &fx_root), -EOPNOTSUPP);
	cr_assert_eq(vfs_setxattr(fx.fs, ino, "system.posix_acl_accessx", "1", 1, 0, &fx_root),
		     -EOPNOTSUPP);
	cr_assert_eq(vfs_removexattr(fx.fs, ino, "system.x", &fx_root), -EOPNOTSUPP);
	cr_assert_eq(vfs_getxattr(fx.fs, ino, "system.x", buf, sizeof(buf)), -EOPNOTSUPP);
	cr_assert_eq(vfs_getxattr(fx.fs, ino, "system.posix_acl_access", buf, sizeof(buf)),
		     -ENODATA);
}

/* An image may hold any number of names; nobody can be told of all of them, so nobody looks for all
 * of them. */
Test(xattr_ops, a_list_without_end)
{
	char name[256];

	memset(name, 'n', sizeof(name));
	name[250] = '\0';
	for (unsigned int k = 0; k <= (1u << 20) / 251; k++) {
		if (k % 1000 == 0)
			cr_assert_eq(vfs_listxattr(fx.fs, ino, NULL, 0), (int)(k * 251));
		snprintf(name, 12, "user.%06u", k);
		name[11] = 'n';
		FX_OK(vfs_setxattr(fx.fs, ino, name, "x", 1, 0, &fx_root));
	}
	cr_assert_eq(vfs_listxattr(fx.fs, ino, NULL, 0), -E2BIG);
}
