/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the liar share. */
#ifndef TESTS_FUZZ_LIES_PRIV_H
#define TESTS_FUZZ_LIES_PRIV_H

#include "tests/fuzz/base.h"

/* One change, as it lies in an input. */
struct lie {
	uint8_t what;	/* enum lie_what, modulo */
	uint8_t sub;	/* which superblock; which item of a leaf */
	uint16_t index; /* which of its kind, modulo */
	uint16_t off;	/* bytes into it, modulo */
	uint8_t how;	/* enum lie_value in the low bits, width in bits 4 and 5 */
	uint8_t field;	/* where it picks between fields */
	uint64_t value;
};

enum lie_what {
	LIE_SUPER,
	LIE_SUPER_ROOT,
	LIE_HEADER,
	LIE_BITMAP,
	LIE_TUPLE,
	LIE_NODE,
	LIE_ITEM,     /* an item's key, offset or length */
	LIE_CONTENT,  /* an item's data */
	LIE_CHILD,    /* a child's key or address */
	LIE_REMOVE,   /* an item or a child */
	LIE_INSERT,   /* an item */
	LIE_COPY,     /* a node over another one, which then has its own address */
	LIE_DATA,     /* a block of data */
	LIE_LOG_HEAD, /* both copies, or one */
	LIE_COMMIT,
	LIE_PAYLOAD,
	LIE_KINDS
};

enum lie_value { SET, ADD, XOR, NODE_ADDR, DATA_ADDR, PLACE, SPECIAL, INO, VALUE_KINDS };

/* What was touched, to be sealed, and perhaps to go by the log. */
enum part_kind { PART_SUPER, PART_HEADER, PART_BITMAP, PART_TUPLES, PART_NODE, PART_DATA };

/* ---- lies_value.c ---- */

/* Block of a fixed structure, by any number. */
uint64_t lie_place(const struct base *b, uint64_t v);
/* A number of @l's width at @p becomes another one; the same, of a structure of @bytes. */
void lie_change(const struct base *b, const struct lie *l, void *p);
void lie_change_in(const struct base *b, const struct lie *l, void *start, uint32_t bytes);

/* ---- lies_node.c ---- */

struct tfs_node *lie_node_of(struct base *b, const struct lie *l);
void lie_item(struct base *b, const struct lie *l, bool content);
void lie_child(struct base *b, const struct lie *l);
void lie_remove(struct base *b, const struct lie *l);
void lie_insert(struct base *b, const struct lie *l);
void lie_copy(struct base *b, const struct lie *l);

/* ---- lies_seal.c ---- */

void parts_none(void);
void part_touch(struct base *b, enum part_kind kind, uint64_t block);
/* As LIES_* say: from the blocks up to the headers; what is sealed joins the parts. */
void parts_seal(struct base *b, unsigned int flags);
/* All that was changed is as before at home, and the log has the rest. */
void parts_send(struct base *b);

#endif
