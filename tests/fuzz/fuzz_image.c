/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An image that lies.  Input: base; flags (ROUNDS_* low, LIES_* from bit 3); numbers of lies (low
 * bits) and of rot (high); the lies, 16 bytes each; then operations, 6 bytes each.
 */
#include <string.h>
#include "tests/fuzz/base.h"
#include "tests/fuzz/lies.h"
#include "tests/fuzz/rounds.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_init();
	/* what nothing was done to is clean, and so all that is said of clean ones is asked */
	for (unsigned int k = 0; k < BASES; k++) {
		struct fuzz_in in = { 0 };

		if (!rounds(base_get(k), &in, 0))
			fuzz_die("base %u is not clean", k);
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = fuzz_start(data, size);
	struct base *b = base_get((unsigned int)fuzz_get(&in, 1));
	unsigned int flags = (unsigned int)fuzz_get(&in, 1), n = (unsigned int)fuzz_get(&in, 1);

	lies_tell(b, &in, n % (LIES_MAX + 1), n >> 5 & 3, flags >> 3);
	rounds(b, &in, flags & 7);
	return 0;
}
