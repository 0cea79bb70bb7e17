/* SPDX-License-Identifier: GPL-2.0-or-later */
/* core/lib/list.c: lists: linking, splicing, stable sort. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "core/lib/list.h"

struct elem {
	struct list_head list;
	int key, serial;
};

static int by_key(const struct list_head *a, const struct list_head *b)
{
	const struct elem *x = list_entry(a, struct elem, list),
			  *y = list_entry(b, struct elem, list);

	return (x->key > y->key) - (x->key < y->key);
}

Test(list, add_del_move)
{
	LIST_HEAD(head);
	LIST_HEAD(other);
	struct elem e[3] = { { .key = 0 }, { .key = 1 }, { .key = 2 } }, *pos, *n;
	int want = 0;

	cr_assert(list_empty(&head));
	list_add(&e[1].list, &head);
	list_add(&e[0].list, &head);
	list_add_tail(&e[2].list, &head);
	list_for_each_entry(pos, &head, list)
		cr_assert_eq(pos->key, want++);
	cr_assert_eq(want, 3);
	cr_assert_eq(list_first_entry(&head, struct elem, list), &e[0]);
	cr_assert_eq(list_last_entry(&head, struct elem, list), &e[2]);
	list_move_tail(&e[0].list, &head);
	cr_assert_eq(list_last_entry(&head, struct elem, list), &e[0]);
	list_splice_tail_init(&other, &head); /* of nothing */
	list_splice_tail_init(&head, &other);
	cr_assert(list_empty(&head));
	list_for_each_entry_safe(pos, n, &other, list)
		list_del_init(&pos->list);
	cr_assert(list_empty(&other));
}

Test(list, sort_is_stable_for_every_length)
{
	static struct elem e[200];
	int len, i;

	srand(7);
	for (len = 0; len <= 200; len++) {
		LIST_HEAD(head);
		struct elem *pos, *prev = NULL;
		int seen = 0;

		for (i = 0; i < len; i++) {
			e[i].key = rand() % 16;
			e[i].serial = i;
			list_add_tail(&e[i].list, &head);
		}
		list_sort(&head, by_key);
		list_for_each_entry(pos, &head, list) {
			if (prev) {
				cr_assert(prev->key <= pos->key);
				cr_assert(prev->key < pos->key || prev->serial < pos->serial);
				cr_assert_eq(pos->list.prev, &prev->list);
			}
			prev = pos;
			seen++;
		}
		cr_assert_eq(seen, len);
		cr_assert_eq(head.prev, prev ? &prev->list : &head);
	}
}
