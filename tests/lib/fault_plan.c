/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include "tests/lib/fault_plan.h"

static bool touches(uint64_t off, uint64_t len, uint64_t off2, uint64_t len2)
{
	/* not off + len: it may be beyond all numbers */
	return off < off2 ? off2 - off < len : off - off2 < len2;
}

static bool run_out(const struct fault_rule *r)
{
	return !r->f.times && !r->f.sticky;
}

void fault_plan_add(struct fault_plan *p, const struct fault *f)
{
	unsigned int i = 0, n;

	/* those that have run out go, and the others stay in their order */
	for (n = 0; n < p->nr; n++)
		if (!run_out(&p->rule[n]))
			p->rule[i++] = p->rule[n];
	p->nr = i;
	if (p->nr == FAULT_PLAN_MAX) {
		fprintf(stderr, "fault_plan_add: more than %d faults\n", FAULT_PLAN_MAX);
		abort();
	}
	p->rule[p->nr] = (struct fault_rule){ .f = *f };
	if (!f->times)
		p->rule[p->nr].f.times = 1;
	p->nr++;
}

/* Does @r hit the command?  It has been counted. */
static bool hits(struct fault_rule *r, enum fault_op op, uint64_t off, uint64_t len)
{
	if (r->struck && r->f.sticky)
		return op == r->struck_op && touches(off, len, r->struck_off, r->struck_len);
	if (!(r->f.ops & op))
		return false;
	if (op != FAULT_FLUSH && r->f.len && !touches(off, len, r->f.off, r->f.len))
		return false;
	return ++r->seen >= r->f.nth && r->f.times;
}

static void strike(struct fault_rule *r, enum fault_op op, uint64_t off, uint64_t len)
{
	if (r->f.times && r->f.times != FAULT_ALWAYS)
		r->f.times--;
	if (r->struck)
		return;
	r->struck = true;
	r->struck_op = op;
	r->struck_off = off;
	r->struck_len = len;
}

struct fault_hit fault_plan_hit(struct fault_plan *p, enum fault_op op, uint64_t off, uint64_t len)
{
	struct fault_hit h = { 0 };

	for (unsigned int i = 0; i < p->nr; i++) {
		struct fault_rule *r = &p->rule[i];
		bool *how = r->f.kind == FAULT_DELAY   ? &h.delayed
			    : r->f.kind == FAULT_STALL ? &h.stalled
						       : &h.spoilt;

		if (!hits(r, op, off, len) || *how)
			continue;
		*how = true;
		if (r->f.kind == FAULT_DELAY)
			h.usec = r->f.usec;
		else if (r->f.kind != FAULT_STALL)
			h.spoil = r->f;
		strike(r, op, off, len);
	}
	return h;
}
