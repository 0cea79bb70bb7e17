/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Few names, so that operations often meet: four in each directory, three deep, with all that may
 * be wrong with a path or odd about it.  Each has a number: a small one is a plain path.
 */
#include <limits.h>
#include <string.h>
#include <sys/xattr.h>
#include <time.h>
#include "core/lib/util.h"
#include "tests/exercise/differ.h"
#include "tests/lib/random.h"

#define PLAIN 84 /* 4 + 16 + 64 */

enum ending {
	AS_IS,
	SLASH,
	DOT,
	DOTDOT,
	DOUBLED,
	LONG_NAME,
	TOO_LONG,
	LONG_PATH,
	ABSOLUTE,
	ENDINGS
};

int64_t differ_any_path(uint64_t *rng)
{
	uint64_t r = test_rand(rng) % 100, n = test_rand(rng);

	/* one half right below the root, or there would be hardly a directory */
	n = r & 1 ? n % 4 : r & 2 ? n % 20 : n % PLAIN;
	if (test_rand(rng) % 10)
		return (int64_t)n;
	if (!(test_rand(rng) % 6))
		return (int64_t)(100 + test_rand(rng) % 3);
	return (int64_t)(n + 1000 * (1 + test_rand(rng) % (ENDINGS - 1)));
}

static void plain(unsigned int n, char *buf)
{
	unsigned int comps[3], nr = 0;

	n %= PLAIN;
	if (n < 4) {
		comps[nr++] = n;
	} else if (n < 20) {
		comps[nr++] = (n - 4) / 4;
		comps[nr++] = n % 4;
	} else {
		comps[nr++] = (n - 20) / 16;
		comps[nr++] = (n - 20) / 4 % 4;
		comps[nr++] = n % 4;
	}
	for (unsigned int i = 0; i < nr; i++) {
		*buf++ = (char)('a' + comps[i]);
		*buf++ = i + 1 < nr ? '/' : '\0';
	}
}

static void repeat(char *buf, const char *what, size_t times)
{
	char *p = buf + strlen(buf);

	for (size_t i = 0; i < times; i++, p += strlen(what))
		strcpy(p, what);
}

const char *differ_path(int64_t number, char *buf)
{
	static const char *const special[] = { "", ".", ".." };
	char p[8];

	if (number >= 100 && number < 103)
		return strcpy(buf, special[number - 100]);
	plain((unsigned int)(number % 1000), p);
	strcpy(buf, p);
	switch ((enum ending)(number / 1000 % ENDINGS)) {
	case SLASH:
		return strcat(buf, "/");
	case DOT:
		return strcat(buf, "/.");
	case DOTDOT:
		return strcat(buf, "/..");
	case DOUBLED:
		return strcat(strcpy(buf, ".//"), p);
	case LONG_NAME:
		repeat(buf, "x", NAME_MAX - strlen(strrchr(p, '/') ? strrchr(p, '/') + 1 : p));
		return buf;
	case TOO_LONG:
		repeat(buf, "y", NAME_MAX);
		return buf;
	case LONG_PATH:
		*buf = '\0';
		repeat(buf, "./", PATH_MAX / 2);
		return strcat(buf, p);
	case ABSOLUTE:
		return strcat(strcpy(buf, "/"), p);
	default:
		return buf;
	}
}

const char *differ_target(int64_t which)
{
	static char full[PATH_MAX], most[PATH_MAX + 1];
	static const char *const targets[TARGETS] = { "a",  "b/c", "../a", "/b", "c/",
						      "..", ".",   "",	   full, most };

	if (!*full) {
		repeat(full, "z", PATH_MAX - 1);
		repeat(most, "z", PATH_MAX);
	}
	return targets[which % TARGETS];
}

const char *differ_xattr(int64_t which)
{
	static char full[257] = "user.", most[258] = "user.";
	static const char *const names[XATTRS] = {
		"user.a",
		"user.b",
		"trusted.t",
		"security.s",
		"security.capability",
		"system.posix_acl_access",
		"system.posix_acl_default",
		"system.other",
		"user.",
		"nothing",
		full,
		most,
	};

	if (!full[5]) {
		repeat(full, "n", XATTR_NAME_MAX - 5);
		repeat(most, "n", XATTR_NAME_MAX - 4);
	}
	return names[which % XATTRS];
}

/* An ACL as setxattr takes it: version 2, then tag, permissions and id of each entry. */
static size_t acl(unsigned char *buf, unsigned int perm, bool mask)
{
	const uint16_t tags[] = { 1, 2, 4, 16, 32 };
	size_t len = 4;

	memcpy(buf, (unsigned char[]){ 2, 0, 0, 0 }, 4);
	for (unsigned int i = 0; i < ARRAY_SIZE(tags); i++) {
		uint32_t id = tags[i] == 2 ? 1001 : UINT32_MAX;
		/* the group's execution stays, see differ_meant.c */
		uint16_t may = (perm >> i & 7) | (tags[i] == 4 || tags[i] == 16);

		if (tags[i] == 16 && !mask)
			continue;
		memcpy(buf + len, &tags[i], 2);
		memcpy(buf + len + 2, &may, 2);
		memcpy(buf + len + 4, &id, 4);
		len += 8;
	}
	return len;
}

size_t differ_value(int64_t which, unsigned char *buf)
{
	static const size_t sizes[] = { 0, 1, 4, 20, 100, 1000, 3000, 4096, 20000, 65536, 65537 };

	which %= VALUES;
	if (which >= 12)
		return acl(buf, (unsigned int)which * 37, which != 15);
	if (which == 11) { /* security.capability, as setcap writes it */
		memset(buf, 0, 20);
		memcpy(buf, (unsigned char[]){ 1, 0, 0, 2, 0, 4 }, 6);
		return 20;
	}
	for (size_t i = 0; i < sizes[which]; i++)
		buf[i] = (unsigned char)(which + (int64_t)(i * 7));
	return sizes[which];
}

struct timespec differ_time(int64_t which)
{
	static const struct timespec times[TIMES] = {
		{ .tv_nsec = UTIME_NOW },
		{ .tv_nsec = UTIME_OMIT },
		{ 0, 0 },
		{ 123456789, 123456789 },
		{ -1000, 1 },
		{ 4000000000, 999999999 },
		{ 1, 1000000000 },
		{ 1, -5 },
	};

	return times[which % TIMES];
}

bool differ_is_now(const struct timespec *t)
{
	return t->tv_sec > 1500000000 && t->tv_sec < 3500000000;
}
