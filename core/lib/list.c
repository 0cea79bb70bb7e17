/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stable merge sort of an embedded list. */
#include "core/lib/list.h"

/* Enough for 2^64 elements: slot i holds a sorted run of 2^i of them, or none. */
#define MAX_RUNS 64

typedef int cmp_fn(const struct list_head *a, const struct list_head *b);

/* Merge two NULL-terminated singly linked runs; @a came first in the list and wins ties. */
static struct list_head *merge(struct list_head *a, struct list_head *b, cmp_fn *cmp)
{
	struct list_head *first = NULL, **tail = &first;

	while (a && b) {
		struct list_head **from = cmp(a, b) <= 0 ? &a : &b;

		*tail = *from;
		tail = &(*tail)->next;
		*from = (*from)->next;
	}
	*tail = a ? a : b;
	return first;
}

void list_sort(struct list_head *head, cmp_fn *cmp)
{
	struct list_head *runs[MAX_RUNS] = { NULL };
	struct list_head *cur = head->next, *sorted = NULL, *prev = head;
	unsigned int i;

	if (list_empty(head))
		return;
	head->prev->next = NULL;
	while (cur) {
		struct list_head *run = cur;

		cur = cur->next;
		run->next = NULL;
		/* Like adding 1 to a binary counter: equal runs carry into the next slot. */
		for (i = 0; runs[i]; i++) {
			run = merge(runs[i], run, cmp);
			runs[i] = NULL;
		}
		runs[i] = run;
	}
	/* Higher slots hold earlier elements. */
	for (i = 0; i < MAX_RUNS; i++)
		if (runs[i])
			sorted = sorted ? merge(runs[i], sorted, cmp) : runs[i];
	for (cur = sorted; cur; cur = cur->next) {
		prev->next = cur;
		cur->prev = prev;
		prev = cur;
	}
	prev->next = head;
	head->prev = prev;
}
