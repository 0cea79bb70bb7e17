/* SPDX-License-Identifier: GPL-2.0-or-later */
/* POSIX access control lists. */
#include <errno.h>
#include <string.h>

#include "core/lib/util.h"
#include "fs/journal/trans.h"
#include "fs/names/acl.h"
#include "fs/names/xattr.h"
#include "tallyfs/format.h"

#define PERMS 7u

static enum acl_tag tag_of(const struct acl_entry *e)
{
	return (enum acl_tag)le16_get(e->tag);
}

static uint32_t perm_of(const struct acl_entry *e)
{
	return le16_get(e->perm);
}

static void set_perm(struct acl_entry *e, uint32_t perm)
{
	e->perm = le16_of((uint16_t)perm);
}

/* The entry with a tag that is there at most once, or NULL. */
static struct acl_entry *entry(struct tfs_acl *acl, enum acl_tag tag)
{
	unsigned int i;

	for (i = 0; i < acl->n; i++)
		if (tag_of(&acl->x.e[i]) == tag)
			return &acl->x.e[i];
	return NULL;
}

/* What the group bits of the mode stand for. */
static struct acl_entry *group_class(struct tfs_acl *acl)
{
	struct acl_entry *mask = entry(acl, ACL_MASK);

	return mask ? mask : entry(acl, ACL_GROUP_OBJ);
}

/* Place in the order, or -1; named ones may come again. */
static int rank(enum acl_tag tag, bool *named)
{
	*named = tag == ACL_USER || tag == ACL_GROUP;
	switch (tag) {
	case ACL_USER_OBJ:
	case ACL_USER:
	case ACL_GROUP_OBJ:
	case ACL_GROUP:
	case ACL_MASK:
	case ACL_OTHER:
		return __builtin_ctz(tag);
	}
	return -1;
}

static bool well_formed(const struct tfs_acl *acl)
{
	bool any_named = false, named;
	unsigned int i, seen = 0;
	int last = -1, r;

	for (i = 0; i < acl->n; i++) {
		const struct acl_entry *e = &acl->x.e[i];

		r = rank(tag_of(e), &named);
		if (r < 0 || r < last || (r == last && !named) || perm_of(e) & ~PERMS)
			return false;
		if (named && le32_get(e->id) == ACL_NO_ID)
			return false;
		any_named |= named;
		seen |= (unsigned int)tag_of(e);
		last = r;
	}
	if (any_named && !(seen & ACL_MASK))
		return false;
	return (seen & ACL_USER_OBJ) && (seen & ACL_GROUP_OBJ) && (seen & ACL_OTHER);
}

int acl_parse(struct tfs_acl *acl, const void *value, size_t len)
{
	acl->n = 0;
	if (len > ACL_SIZE_MAX)
		return -E2BIG;
	if (len < ACL_HEAD || (len - ACL_HEAD) % sizeof(struct acl_entry))
		return -EINVAL;
	memcpy(&acl->x, value, len);
	if (le32_get(acl->x.version) != ACL_VERSION)
		return -EOPNOTSUPP;
	acl->n = (unsigned int)((len - ACL_HEAD) / sizeof(struct acl_entry));
	if (!acl->n || well_formed(acl))
		return 0;
	acl->n = 0;
	return -EINVAL;
}

bool acl_to_mode(const struct tfs_acl *acl, uint32_t *mode)
{
	bool plain = true;
	uint32_t bits = 0;
	unsigned int i;

	for (i = 0; i < acl->n; i++) {
		uint32_t perm = perm_of(&acl->x.e[i]);

		switch (tag_of(&acl->x.e[i])) {
		case ACL_USER_OBJ:
			bits |= perm << 6;
			break;
		case ACL_GROUP_OBJ:
			bits |= perm << 3;
			break;
		case ACL_OTHER:
			bits |= perm;
			break;
		case ACL_MASK: /* behind the group's entry, whose place it takes */
			bits = (bits & ~(PERMS << 3)) | perm << 3;
			plain = false;
			break;
		case ACL_USER:
		case ACL_GROUP:
			plain = false;
			break;
		}
	}
	*mode = (*mode & ~0777u) | bits;
	return plain;
}

void acl_chmod(struct tfs_acl *acl, uint32_t mode)
{
	set_perm(entry(acl, ACL_USER_OBJ), mode >> 6 & PERMS);
	set_perm(group_class(acl), mode >> 3 & PERMS);
	set_perm(entry(acl, ACL_OTHER), mode & PERMS);
}

bool acl_inherit(struct tfs_acl *acl, uint32_t *mode)
{
	uint32_t allowed = 0;

	acl_to_mode(acl, &allowed);
	*mode &= ~0777u | allowed;
	acl_chmod(acl, *mode);
	return acl_to_mode(acl, &allowed);
}

int acl_read(struct tfs_trans *t, uint64_t ino, const char *name, struct tfs_acl *acl)
{
	uint8_t value[ACL_SIZE_MAX];
	int len = xattr_get(t, ino, name, value, sizeof(value));

	acl->n = 0;
	if (len < 0)
		return len == -ERANGE ? -EUCLEAN : len;
	if (acl_parse(acl, value, (size_t)len))
		return -EUCLEAN;
	return acl->n ? 0 : -ENODATA;
}

int acl_chmod_prefault(struct tfs_trans *t, uint64_t ino, uint32_t mode, struct tfs_acl *acl)
{
	int err = acl_read(t, ino, ACL_NAME_ACCESS, acl);

	if (err)
		return err == -ENODATA ? 0 : err;
	acl_chmod(acl, mode);
	return xattr_prefault(t, ino, ACL_NAME_ACCESS, acl_size(acl));
}

int acl_write(struct tfs_trans *t, uint64_t ino, struct tfs_inode_item *it, const char *name,
	      const struct tfs_acl *acl)
{
	int err;

	if (acl->n)
		return xattr_set(t, ino, it, name, &acl->x, acl_size(acl), 0);
	err = xattr_remove(t, ino, name);
	return err == -ENODATA ? 0 : err;
}
