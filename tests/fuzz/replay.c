/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs a target on the files and folders named, without libFuzzer. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "tests/fuzz/fuzz.h"

#define INPUT_MAX (1u << 20)

static unsigned int done;

static void run_file(const char *path)
{
	uint8_t *data = malloc(INPUT_MAX), *exact;
	FILE *f = fopen(path, "rb");
	size_t n;

	if (!f || !data)
		fuzz_die("%s cannot be read", path);
	n = fread(data, 1, INPUT_MAX, f);
	fclose(f);
	/* no byte more than it has: who reads behind the end is noticed */
	exact = malloc(n ? n : 1);
	if (!exact)
		fuzz_die("out of memory");
	memcpy(exact, data, n);
	if (getenv("FUZZ_NAMES"))
		fprintf(stderr, "%s\n", path);
	LLVMFuzzerTestOneInput(exact, n);
	free(exact);
	free(data);
	done++;
}

static void run(const char *path)
{
	struct dirent **names;
	char inner[4096];
	struct stat st;
	int n;

	if (stat(path, &st))
		fuzz_die("%s is not there", path);
	if (!S_ISDIR(st.st_mode)) {
		run_file(path);
		return;
	}
	n = scandir(path, &names, NULL, alphasort);
	for (int k = 0; k < n; k++) {
		if (names[k]->d_name[0] != '.') {
			snprintf(inner, sizeof(inner), "%s/%s", path, names[k]->d_name);
			run(inner);
		}
		free(names[k]);
	}
	if (n >= 0)
		free(names);
}

int main(int argc, char **argv)
{
	LLVMFuzzerInitialize(&argc, &argv);
	for (int k = 1; k < argc; k++)
		run(argv[k]);
	printf("%u inputs\n", done);
	return 0;
}
