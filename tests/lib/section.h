/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One expression in a section of its own, started over as sections are.  It uses the handle `t`. */
#ifndef TESTS_LIB_SECTION_H
#define TESTS_LIB_SECTION_H

#include "fs/journal/trans.h"

#define IN_WRITE_OF(fs, credits, expr)                             \
	({                                                         \
		struct tfs_trans section, *t = &section;           \
		int section_err;                                   \
		do {                                               \
			section_err = trans_begin(t, fs, credits); \
			if (!section_err)                          \
				section_err = (expr);              \
		} while (trans_again(t, &section_err));            \
		section_err;                                       \
	})

#define IN_WRITE(fs, expr) IN_WRITE_OF(fs, TRANS_CREDITS(fs), expr)

#define IN_READ(fs, expr)                                \
	({                                               \
		struct tfs_trans section, *t = &section; \
		int section_err;                         \
		do {                                     \
			trans_read_begin(t, fs);         \
			section_err = (expr);            \
		} while (trans_again(t, &section_err));  \
		section_err;                             \
	})

#endif
