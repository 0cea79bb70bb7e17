/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all programs share on the command line: sizes, progress, JSON. */
#ifndef TOOLS_CLI_H
#define TOOLS_CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <json-c/json.h>

/* "4096", "64K", "1G": K M G T are powers of 1024.  False: not a size, or too large. */
bool cli_parse_size(const char *s, uint64_t *bytes);
/* "12.3 GiB" into @buf. */
const char *cli_size(uint64_t bytes, char *buf, size_t size);

/* What getopt_long() means by ':' or '?', for people; with opterr 0 and an option string that
 * begins with ':'.  -1. */
int cli_option_error(const char *program, int c, char **argv);

enum cli_progress_mode { CLI_PROGRESS_AUTO, CLI_PROGRESS_ALWAYS, CLI_PROGRESS_NEVER };
/* "auto", "always", "never"; false: none of them. */
bool cli_parse_progress(const char *s, enum cli_progress_mode *mode);

/* A bar on stderr with percent, rate and time left; or JSON status lines on stdout.  At most ten
 * updates a second. */
struct cli_progress {
	bool bar;  /* draw it */
	bool json; /* "message_type":"status" lines instead */
	bool drawn;
	uint64_t start_ns, last_ns;
	char phase[32];
};
void cli_progress_init(struct cli_progress *p, enum cli_progress_mode mode, bool json);
/* @bytes: the figures are bytes (shown with a rate), else plain counts. */
void cli_progress_update(struct cli_progress *p, const char *phase, uint64_t done, uint64_t total,
			 bool bytes);
/* Remove the bar before other output. */
void cli_progress_clear(struct cli_progress *p);

/* {"tallyfs_json":1,"command":...} */
struct json_object *cli_json_begin(const char *command);
/* To stdout, as JSON without anything that a terminal would obey. */
void cli_json_print(struct json_object *o);
/* Print on one line to stdout and release. */
void cli_json_end(struct json_object *o);
/* A name that may not be UTF-8: escaped under @key, and then base64 under <key>_b64 as well. */
void cli_json_path(struct json_object *o, const char *key, const char *name, size_t len);
/* 64-bit guards are hex strings: JSON numbers are doubles to many readers. */
void cli_json_hex(struct json_object *o, const char *key, uint64_t v);

#endif
