/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long requests took: what tallyctl status makes of the daemon's histograms. */
#ifndef TOOLS_CTL_LATENCY_H
#define TOOLS_CTL_LATENCY_H

#include <stdint.h>
#include <json-c/json.h>

struct latencies;

/* NULL: no memory. */
struct latencies *latencies_new(void);
void latencies_free(struct latencies *l);
/* A figure "KIND.max" or "KIND.START" (tallyfs/ctl.h). */
void latencies_add(struct latencies *l, const char *name, uint64_t value);
/* Two tables on standard output; nothing if there are none. */
void latencies_print(const struct latencies *l);
struct json_object *latencies_json(const struct latencies *l);

#endif
