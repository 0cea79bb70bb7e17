/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bounded set: which operations there are, what makes each last, and which sequences of them.
 */
#ifndef TESTS_SEQUENCE_SET_H
#define TESTS_SEQUENCE_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEQ_DEPTH_MAX 3
#define SEQ_LASTING 5 /* ways to make one operation last, at most; the first: none */
#define SEQ_WAYS 7    /* the others: what threads do, which promises nothing */

unsigned int seq_nr_ops(void);
const char *seq_op(unsigned int op);
/* The operation, and the @way it is made to last: "creat A/n; fsync A/n".  False: it has no such
 * way. */
bool seq_unit(unsigned int op, unsigned int way, char *text, size_t room);
/* Would @op behind @before be the mirror image of another? */
bool seq_mirrored(const char *before, unsigned int op);
/* A random one of @depth operations; it may not apply. */
void seq_random(unsigned int depth, uint64_t *rng, char *text, size_t room);

#endif
