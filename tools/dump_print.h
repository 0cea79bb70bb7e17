/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A command's JSON object, and printing it: as JSON or as text. */
#ifndef TOOLS_DUMP_PRINT_H
#define TOOLS_DUMP_PRINT_H

#include "tools/dump.h"

/* Members of @o. */
void dump_u64(struct json_object *o, const char *key, uint64_t v);
void dump_str(struct json_object *o, const char *key, const char *v);
void dump_time(struct json_object *o, const char *key, uint64_t sec, uint32_t nsec);
/* An array under @key, to be filled. */
struct json_object *dump_array(struct json_object *o, const char *key);
/* An object at the end of @array, to be filled. */
struct json_object *dump_row(struct json_object *array);
/* The object's last members are arrays: when all else is printed, @rows is called with d->later_arg
 * to emit the rows.
 */
void dump_later(struct dump *d, const char *key, dump_rows_fn *rows);
/* Print a row, and release it. */
void dump_emit(struct dump *d, struct json_object *row);
/* One line of JSON, or text: the object, and what comes later.  A failure there leaves what was
 * printed well formed. */
int dump_print(struct dump *d, struct json_object *o);

#endif
