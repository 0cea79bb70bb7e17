/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>
#include "core/lib/util.h"
#include "tests/lib/random.h"
#include "tests/lib/sequence.h"
#include "tests/lib/sequence_set.h"

/*
 * An operation, the file whose fsync and the directory whose fsync should make it last (NULL:
 * none). A/x is of three blocks of 4 KiB and a part, A/y small enough to lie in the tree, B/z
 * shares two blocks with A/x, B/e is an empty directory; A/n and B/n are free names.
 */
static const struct op {
	const char *text, *file, *dir;
} ops[] = {
	{ "creat A/n", "A/n", "A" },
	{ "creat B/n", "B/n", "B" },
	{ "mkdir A/n", NULL, "A" },
	{ "mkdir B/n", NULL, "B" },
	{ "symlink A/n", NULL, "A" },
	{ "symlink B/n", NULL, "B" },
	{ "rmdir B/e", NULL, "B" },
	{ "rmdir A/n", NULL, "A" },

	{ "link A/x A/n", "A/n", "A" },
	{ "link A/x B/n", "B/n", "B" },
	{ "link A/n B/n", "A/n", "B" },
	{ "unlink A/x", NULL, "A" },
	{ "unlink A/y", NULL, "A" },
	{ "unlink B/z", NULL, "B" },
	{ "unlink A/n", NULL, "A" },

	{ "rename A/x A/n", "A/n", "A" },
	{ "rename A/x B/n", "B/n", "B" },
	{ "rename A/x A/y", "A/y", "A" },
	{ "rename A/y A/x", "A/x", "A" },
	{ "rename A/x B/z", "B/z", "B" },
	{ "rename A/n A/x", "A/x", "A" },
	{ "rename A/n B/z", "B/z", "B" },
	{ "rename A/n B/n", "B/n", "A" },
	{ "rename B/e A/n", NULL, "A" },
	{ "rename A C", NULL, "B" },
	{ "exchange A/x A/y", "A/x", "A" },
	{ "exchange A/x B/z", "A/x", "B" },
	{ "exchange A/x B/e", "B/e", "A" },
	{ "exchange A/n A/x", "A/x", "A" },

	{ "chmod A/x 0600", "A/x", "A" },
	{ "chmod A 0700", NULL, "A" },
	{ "chown A/x", "A/x", "A" },
	{ "setxattr A/x 30", "A/x", "A" },
	{ "setxattr A/x 5000", "A/x", "A" },
	{ "setxattr A/y 20", "A/y", "A" },
	{ "setxattr A 20", NULL, "A" },
	{ "removexattr A/x", "A/x", "A" },

	{ "write A/x 0 3000", "A/x", "A" },
	{ "write A/x 5000 4000", "A/x", "A" },
	{ "write A/x 13000 5000", "A/x", "A" },
	{ "write A/x 0 14000", "A/x", "A" },
	{ "write A/x 30000 2000", "A/x", "A" },
	{ "append A/x 3000", "A/x", "A" },
	{ "write A/y 0 100", "A/y", "A" },
	{ "append A/y 200", "A/y", "A" },
	{ "append A/y 9000", "A/y", "A" },
	{ "write B/z 0 4096", "B/z", "B" },
	{ "write A/n 0 3000", "A/n", "A" },
	{ "append A/n 9000", "A/n", "A" },
	{ "store A/x 4096 4096", "A/x", "A" },
	{ "store A/y 0 4096", "A/y", "A" },
	{ "write,direct A/x 0 8192", "A/x", "A" },
	{ "write,direct A/x 12288 8192", "A/x", "A" },
	{ "write,direct B/z 4096 4096", "B/z", "B" },
	{ "write,sync A/x 5000 4000", NULL, NULL },
	{ "write,dsync A/x 5000 4000", NULL, NULL },
	{ "append,sync A/x 3000", NULL, NULL },
	{ "append,dsync A/x 3000", NULL, NULL },
	{ "append,dsync A/y 200", NULL, NULL },
	{ "write,sync A/n 0 3000", NULL, NULL },
	{ "write,dsync A/n 0 3000", NULL, NULL },
	{ "write,direct,sync A/x 12288 8192", NULL, NULL },
	{ "write,direct,dsync A/x 12288 8192", NULL, NULL },

	{ "truncate A/x 0", "A/x", "A" },
	{ "truncate A/x 5000", "A/x", "A" },
	{ "truncate A/x 12288", "A/x", "A" },
	{ "truncate A/x 20000", "A/x", "A" },
	{ "truncate A/y 0", "A/y", "A" },
	{ "truncate A/y 100", "A/y", "A" },
	{ "truncate A/y 9000", "A/y", "A" },
	{ "truncate B/z 5000", "B/z", "B" },
	{ "punch A/x 4096 4096", "A/x", "A" },
	{ "punch A/x 1000 6000", "A/x", "A" },
	{ "punch A/x 28672 4096", "A/x", "A" }, /* what "write A/x 30000" wrote */
	{ "punch A/y 0 100", "A/y", "A" },
	{ "zero A/x 1000 8000", "A/x", "A" },
	{ "zero A/x 10000 10000", "A/x", "A" },
	{ "zero,keep A/x 10000 10000", "A/x", "A" },
	{ "falloc A/x 10000 20000", "A/x", "A" },
	{ "falloc,keep A/x 16384 8192", "A/x", "A" },
	{ "falloc A/y 0 9000", "A/y", "A" },
	{ "copy A/x 0 B/z 0 14000", "B/z", "B" },
	{ "copy A/x 0 A/y 4096 14000", "A/y", "A" },
	{ "copy A/x 100 B/z 4096 5000", "B/z", "B" },
	{ "copy A/x 0 A/n 0 14000", "A/n", "A" },
	{ "copy A/y 0 A/n 0 300", "A/n", "A" },
	{ "copy,sync A/x 0 A/y 4096 14000", NULL, NULL },
	{ "copy,dsync A/x 0 A/y 4096 14000", NULL, NULL },
	{ "unshare B/z", "B/z", "B" },
};

unsigned int seq_nr_ops(void)
{
	return ARRAY_SIZE(ops);
}

const char *seq_op(unsigned int op)
{
	return ops[op].text;
}

bool seq_unit(unsigned int op, unsigned int way, char *text, size_t room)
{
	const struct op *o = &ops[op];
	const char *how[SEQ_WAYS] = { "",	"; fsync ",    "; fdatasync ", "; fsync ",
				      "; sync", "; writeback", "; commit" };
	const char *what[SEQ_WAYS] = { "", o->file, o->file, o->dir, "", "", "" };

	/* what lasts by itself is made to by nothing else */
	if (!what[way] || (way && !o->file && !o->dir))
		return false;
	snprintf(text, room, "%s%s%s", o->text, how[way], what[way]);
	return true;
}

bool seq_mirrored(const char *before, unsigned int op)
{
	const char *t = ops[op].text;

	/* the first new name that comes from nowhere is in A */
	return (!strcmp(t, "creat B/n") || !strcmp(t, "mkdir B/n") || !strcmp(t, "symlink B/n")) &&
	       !strstr(before, "A/n");
}

void seq_random(unsigned int depth, uint64_t *rng, char *text, size_t room)
{
	char unit[SEQ_TEXT];
	size_t len = 0;

	text[0] = '\0';
	while (depth) {
		unsigned int op = (unsigned int)(test_rand(rng) % ARRAY_SIZE(ops));

		if (seq_mirrored(text, op) ||
		    !seq_unit(op, (unsigned int)(test_rand(rng) % SEQ_LASTING), unit, sizeof(unit)))
			continue;
		len += (size_t)snprintf(text + len, room - len, "%s%s", len ? "; " : "", unit);
		depth--;
	}
}
