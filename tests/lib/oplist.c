/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tests/lib/oplist.h"

static void *must(void *p)
{
	if (p)
		return p;
	fputs("no memory for the operations\n", stderr);
	abort();
}

void oplist_add(struct oplist *l, const struct op *op)
{
	if (l->nr == l->room) {
		l->room = l->room ? 2 * l->room : 256;
		l->ops = must(realloc(l->ops, l->room * sizeof(*l->ops)));
	}
	l->ops[l->nr++] = *op;
}

void oplist_copy(struct oplist *to, const struct oplist *from)
{
	to->nr = 0;
	for (size_t i = 0; i < from->nr; i++)
		oplist_add(to, &from->ops[i]);
}

void oplist_free(struct oplist *l)
{
	free(l->ops);
	*l = (struct oplist){ 0 };
}

void oplist_print(const struct oplist *l, FILE *out, oplist_describe_fn *describe)
{
	char words[400];

	for (size_t i = 0; i < l->nr; i++) {
		const struct op *op = &l->ops[i];
		int k, used = OP_ARGS;

		while (used && !op->arg[used - 1])
			used--;
		fprintf(out, "%u", op->kind);
		for (k = 0; k < used; k++)
			fprintf(out, " %lld", (long long)op->arg[k]);
		describe(op, words, sizeof(words));
		fprintf(out, "\t# %s\n", words);
	}
}

int oplist_save(const struct oplist *l, const char *path, oplist_describe_fn *describe)
{
	FILE *f = fopen(path, "w");

	if (f)
		oplist_print(l, f, describe);
	if (f && !fclose(f))
		return 0;
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	return -1;
}

/* 1: an operation; 0: an empty line; -1: neither. */
static int parse(char *line, struct op *op)
{
	char *end, *p = line;
	int k;

	*op = (struct op){ 0 };
	line[strcspn(line, "#\n")] = '\0';
	if (!line[strspn(line, " \t")])
		return 0;
	op->kind = (unsigned int)strtoul(p, &end, 10);
	if (end == p)
		return -1;
	for (k = 0; k < OP_ARGS; k++) {
		p = end;
		op->arg[k] = strtoll(p, &end, 10);
		if (end == p)
			break;
	}
	return end[strspn(end, " \t")] ? -1 : 1;
}

int oplist_load(struct oplist *l, const char *path)
{
	FILE *f = fopen(path, "r");
	char line[1000];
	struct op op;
	int err = 0;

	if (!f) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	while (!err && fgets(line, sizeof(line), f)) {
		int is = parse(line, &op);

		if (is > 0)
			oplist_add(l, &op);
		else if (is < 0)
			err = fprintf(stderr, "%s: not an operation: %s\n", path, line);
	}
	fclose(f);
	return err ? -1 : 0;
}
