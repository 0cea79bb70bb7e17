/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/names/acl.c, and what fs/vfs/create.c, fs/vfs/attr.c and fs/vfs/xattr_ops.c do with POSIX
 * ACLs. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "fs/names/acl.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"

static struct fixture fx;
static uint64_t dir;

static void setup(void)
{
	struct vfs_attr a;

	fx_init();
	fx_create(&fx, FX_SMALL1K);
	FX_OK(vfs_mkdir(fx.fs, TFS_INO_ROOT, "d", 0755, &fx_root, &a));
	dir = a.ino;
}

static void teardown(void)
{
	fx_destroy(&fx);
	fx_exit();
}

TestSuite(acl, .init = setup, .fini = teardown, .timeout = 900);

/* A value being put together. */
static uint8_t val[70000];
static size_t val_len;

static void start(void)
{
	static const uint8_t head[4] = { 2 };

	memcpy(val, head, 4);
	val_len = 4;
}

static void add(unsigned int tag, unsigned int perm, uint32_t id)
{
	struct acl_entry e = { le16_of((uint16_t)tag), le16_of((uint16_t)perm), le32_of(id) };

	memcpy(val + val_len, &e, sizeof(e));
	val_len += sizeof(e);
}

/* u::U u:7:N g::G m::M o::O; M or N above 7: without mask or named user */
static void acl(unsigned int u, unsigned int named, unsigned int g, unsigned int mask,
		unsigned int o)
{
	start();
	add(ACL_USER_OBJ, u, ACL_NO_ID);
	if (named <= 7)
		add(ACL_USER, named, 7);
	add(ACL_GROUP_OBJ, g, ACL_NO_ID);
	if (mask <= 7)
		add(ACL_MASK, mask, ACL_NO_ID);
	add(ACL_OTHER, o, ACL_NO_ID);
}

static int parse(void)
{
	struct tfs_acl a;

	return acl_parse(&a, val, val_len);
}

static int set(uint64_t ino, const char *name, int flags)
{
	return vfs_setxattr(fx.fs, ino, name, val, val_len, flags, &fx_root);
}

static bool stored(uint64_t ino, const char *name)
{
	static uint8_t got[70000];

	return vfs_getxattr(fx.fs, ino, name, got, sizeof(got)) == (int)val_len &&
	       !memcmp(got, val, val_len);
}

static bool none(uint64_t ino, const char *name)
{
	return vfs_getxattr(fx.fs, ino, name, NULL, 0) == -ENODATA;
}

static uint32_t mode(uint64_t ino)
{
	struct vfs_attr a;

	FX_OK(vfs_getattr(fx.fs, ino, &a));
	return a.mode & 07777;
}

static uint64_t make(mode_t m, mode_t umask)
{
	struct vfs_cred cred = { .umask = umask };
	struct vfs_attr a;
	static int nr;
	char name[20];

	snprintf(name, sizeof(name), "f%d", nr++);
	FX_OK(vfs_create(fx.fs, dir, name, m, &cred, 0, &a, NULL));
	return a.ino;
}

static void chmod_to(uint64_t ino, mode_t m)
{
	struct vfs_attr a = { .mode = m };

	FX_OK(vfs_setattr(fx.fs, ino, VFS_SET_MODE, &a, &fx_root, NULL));
}

Test(acl, well_formed)
{
	acl(7, 8, 5, 8, 0);
	FX_OK(parse());
	acl(7, 5, 5, 7, 0);
	FX_OK(parse());
	acl(7, 8, 5, 1, 0);
	FX_OK(parse());
	start();
	FX_OK(parse()); /* none at all */
	add(ACL_USER_OBJ, 7, 0);
	add(ACL_USER, 7, 3);
	add(ACL_USER, 7, 2); /* the order of ids is nobody's business */
	add(ACL_GROUP_OBJ, 7, 0);
	add(ACL_GROUP, 7, 2);
	add(ACL_GROUP, 7, 9);
	add(ACL_MASK, 7, 0);
	add(ACL_OTHER, 7, 0);
	FX_OK(parse());
}

Test(acl, malformed)
{
	acl(7, 5, 5, 8, 0); /* a named entry without a mask */
	cr_assert_eq(parse(), -EINVAL);
	acl(7, 5, 15, 7, 0);
	cr_assert_eq(parse(), -EINVAL);
	start();
	add(ACL_USER_OBJ, 7, 0);
	add(ACL_GROUP_OBJ, 7, 0);
	cr_assert_eq(parse(), -EINVAL); /* no others */
	add(ACL_OTHER, 7, 0);
	FX_OK(parse());
	add(ACL_OTHER, 7, 0);
	cr_assert_eq(parse(), -EINVAL); /* twice */
	start();
	add(ACL_GROUP_OBJ, 7, 0);
	add(ACL_USER_OBJ, 7, 0);
	add(ACL_OTHER, 7, 0);
	cr_assert_eq(parse(), -EINVAL); /* the order */
	start();
	add(ACL_USER_OBJ, 7, 0);
	add(ACL_USER, 7, ACL_NO_ID);
	add(ACL_GROUP_OBJ, 7, 0);
	add(ACL_MASK, 7, 0);
	add(ACL_OTHER, 7, 0);
	cr_assert_eq(parse(), -EINVAL);
	acl(7, 8, 5, 8, 0);
	val[4] = 0x40; /* a tag that is none */
	cr_assert_eq(parse(), -EINVAL);
	acl(7, 8, 5, 8, 0);
	val[4] = 0x03;
	cr_assert_eq(parse(), -EINVAL);
	acl(7, 8, 5, 8, 0);
	val_len--;
	cr_assert_eq(parse(), -EINVAL);
	val_len = 3;
	cr_assert_eq(parse(), -EINVAL);
	acl(7, 8, 5, 8, 0);
	val[0] = 3;
	cr_assert_eq(parse(), -EOPNOTSUPP);
}

/* As many entries as there may be, with one more, and as many as an attribute may have bytes. */
Test(acl, limits)
{
	uint64_t ino = make(0640, 0);
	unsigned int k, most = ACL_ENTRIES_MAX;

	for (int more = 0; more < 2; more++) {
		start();
		add(ACL_USER_OBJ, 6, 0);
		for (k = 0; k < most - 4 + (unsigned int)more; k++)
			add(ACL_USER, k & 7, k + 1000);
		add(ACL_GROUP_OBJ, 4, 0);
		add(ACL_MASK, 4, 0);
		add(ACL_OTHER, 0, 0);
		cr_assert_eq(set(ino, ACL_NAME_ACCESS, 0), more ? -E2BIG : 0);
		if (!more) {
			cr_assert(stored(ino, ACL_NAME_ACCESS));
			FX_OK(set(dir, ACL_NAME_DEFAULT, 0));
			/* inherited twice over: more than a node of this file system can hold */
			FX_OK(vfs_mkdir(fx.fs, dir, "sub", 0777, &fx_root,
					&(struct vfs_attr){ 0 }));
			cr_assert(stored(fx_ino(&fx, "/d/sub"), ACL_NAME_DEFAULT));
			cr_assert_eq(mode(fx_ino(&fx, "/d/sub")), 0640);
		}
	}
	val_len = TFS_XATTR_MAX;
	cr_assert_eq(set(ino, ACL_NAME_ACCESS, 0), -E2BIG);
	fx_remount(&fx);
}

Test(acl, mode_follows)
{
	uint64_t ino = make(0604, 0);

	acl(7, 6, 5, 3, 1);
	FX_OK(set(ino, ACL_NAME_ACCESS, 0));
	cr_assert(stored(ino, ACL_NAME_ACCESS));
	cr_assert_eq(mode(ino), 0731); /* the mask stands for the group */
	/* one that a mode can say is not stored, and takes the other one away */
	acl(6, 8, 4, 8, 0);
	FX_OK(set(ino, ACL_NAME_ACCESS, 0));
	cr_assert(none(ino, ACL_NAME_ACCESS));
	cr_assert_eq(mode(ino), 0640);
	/* a mask alone is more than a mode */
	acl(6, 8, 6, 4, 0);
	FX_OK(set(ino, ACL_NAME_ACCESS, 0));
	cr_assert(stored(ino, ACL_NAME_ACCESS));
	cr_assert_eq(mode(ino), 0640);
	FX_OK(vfs_removexattr(fx.fs, ino, ACL_NAME_ACCESS, &fx_root));
	cr_assert(none(ino, ACL_NAME_ACCESS));
	cr_assert_eq(mode(ino), 0640);
	FX_OK(vfs_removexattr(fx.fs, ino, ACL_NAME_ACCESS, &fx_root));
	/* a bad one changes nothing */
	acl(7, 6, 5, 8, 1);
	cr_assert_eq(set(ino, ACL_NAME_ACCESS, 0), -EINVAL);
	cr_assert_eq(mode(ino), 0640);
}

Test(acl, setgid_goes_when_told)
{
	uint64_t ino = make(02755, 0);

	acl(7, 5, 5, 5, 5);
	FX_OK(set(ino, ACL_NAME_ACCESS, 0));
	cr_assert_eq(mode(ino), 02755);
	FX_OK(set(ino, ACL_NAME_ACCESS, VFS_XATTR_KILL_SGID));
	cr_assert_eq(mode(ino), 0755);
}

Test(acl, chmod_changes_mask)
{
	uint64_t ino = make(0777, 0);

	acl(7, 7, 5, 7, 7);
	FX_OK(set(ino, ACL_NAME_ACCESS, 0));
	chmod_to(ino, 01642);
	cr_assert_eq(mode(ino), 01642);
	acl(6, 7, 5, 4, 2);
	cr_assert(stored(ino, ACL_NAME_ACCESS));
	fx_remount(&fx);
	cr_assert(stored(ino, ACL_NAME_ACCESS));
	/* together with a capability that goes */
	FX_OK(vfs_setxattr(fx.fs, ino, "security.capability", "cap", 3, 0, &fx_root));
	FX_OK(vfs_setattr(fx.fs, ino, VFS_SET_MODE | VFS_KILL_PRIV,
			  &(struct vfs_attr){ .mode = 0000 }, &fx_root, NULL));
	acl(0, 7, 5, 0, 0);
	cr_assert(stored(ino, ACL_NAME_ACCESS));
	cr_assert(none(ino, "security.capability"));
}

Test(acl, default_only_on_directories)
{
	struct vfs_attr a;
	uint64_t ino = make(0600, 0);

	acl(7, 7, 5, 7, 7);
	cr_assert_eq(set(ino, ACL_NAME_DEFAULT, 0), -EACCES);
	FX_OK(vfs_symlink(fx.fs, dir, "l", "target", &fx_root, &a));
	cr_assert_eq(set(a.ino, ACL_NAME_ACCESS, 0), -EOPNOTSUPP);
	cr_assert_eq(set(a.ino, ACL_NAME_DEFAULT, 0), -EOPNOTSUPP);
	FX_OK(vfs_removexattr(fx.fs, ino, ACL_NAME_DEFAULT, &fx_root));
}

Test(acl, inherited)
{
	struct vfs_cred cred = { .umask = 077 };
	struct vfs_file *f;
	struct vfs_attr a;
	uint64_t ino;

	cr_assert_eq(mode(make(0666, 027)), 0640);
	acl(7, 6, 5, 7, 4);
	FX_OK(set(dir, ACL_NAME_DEFAULT, 0));
	cr_assert_eq(mode(dir), 0755); /* a default ACL says nothing about the directory itself */

	/* the umask does not count; the mode asked for cuts the ACL and is cut by it */
	ino = make(0666, 077);
	cr_assert_eq(mode(ino), 0664);
	acl(6, 6, 5, 6, 4);
	cr_assert(stored(ino, ACL_NAME_ACCESS));
	cr_assert(none(ino, ACL_NAME_DEFAULT));

	FX_OK(vfs_mkdir(fx.fs, dir, "sub", 0771, &cred, &a));
	cr_assert_eq(a.mode & 07777, 0770);
	acl(7, 6, 5, 7, 0);
	cr_assert(stored(a.ino, ACL_NAME_ACCESS));
	acl(7, 6, 5, 7, 4);
	cr_assert(stored(a.ino, ACL_NAME_DEFAULT));

	FX_OK(vfs_mknod(fx.fs, dir, "fifo", S_IFIFO | 0600, 0, &cred, &a));
	cr_assert_eq(a.mode & 07777, 0600);
	acl(6, 6, 5, 0, 0);
	cr_assert(stored(a.ino, ACL_NAME_ACCESS));

	FX_OK(vfs_symlink(fx.fs, dir, "link", "x", &cred, &a));
	cr_assert_eq(a.mode & 07777, 0777);
	cr_assert(none(a.ino, ACL_NAME_ACCESS));

	FX_OK(vfs_tmpfile(fx.fs, dir, 0644, &cred, O_RDWR, &a, &f));
	cr_assert_eq(a.mode & 07777, 0644);
	acl(6, 6, 5, 4, 4);
	cr_assert(stored(a.ino, ACL_NAME_ACCESS));
	vfs_release(fx.fs, f);

	/* after the directory has been out of memory, too */
	fx_remount(&fx);
	ino = make(0600, 0);
	cr_assert_eq(mode(ino), 0600);
	acl(6, 6, 5, 0, 0);
	cr_assert(stored(ino, ACL_NAME_ACCESS));
}

/* A default ACL that a mode can say sets the mode and leaves no ACL, but goes on to directories. */
Test(acl, inherited_plain)
{
	struct vfs_attr a;
	uint64_t ino;

	acl(7, 8, 5, 8, 0);
	FX_OK(set(dir, ACL_NAME_DEFAULT, 0));
	ino = make(0666, 077);
	cr_assert_eq(mode(ino), 0640);
	cr_assert(none(ino, ACL_NAME_ACCESS));
	FX_OK(vfs_mkdir(fx.fs, dir, "sub", 02777, &fx_root, &a));
	cr_assert_eq(a.mode & 07777, 02750);
	cr_assert(none(a.ino, ACL_NAME_ACCESS));
	cr_assert(stored(a.ino, ACL_NAME_DEFAULT));
	FX_OK(vfs_removexattr(fx.fs, dir, ACL_NAME_DEFAULT, &fx_root));
	cr_assert_eq(mode(make(0666, 077)), 0600);
	/* the same through a value without entries */
	FX_OK(set(dir, ACL_NAME_DEFAULT, 0));
	cr_assert_eq(mode(make(0666, 077)), 0640);
	start();
	FX_OK(set(dir, ACL_NAME_DEFAULT, 0));
	cr_assert(none(dir, ACL_NAME_DEFAULT));
	cr_assert_eq(mode(make(0666, 077)), 0600);
}
