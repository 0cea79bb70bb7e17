/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One expression in a section of its own.  It uses the handle `t`. */
#ifndef TESTS_LIB_SECTION_H
#define TESTS_LIB_SECTION_H

#include "fs/journal/trans.h"

#define IN_WRITE_OF(fs, credits, expr) TRANS_WRITE(t, fs, credits, expr)
#define IN_WRITE(fs, expr) TRANS_WRITE(t, fs, TRANS_CREDITS(fs), expr)
#define IN_READ(fs, expr) TRANS_READ(t, fs, expr)

#endif
