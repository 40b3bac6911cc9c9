/* SPDX-License-Identifier: Apache-2.0 */
/* main() of a fuzz target where clang's fuzzer is not: runs every file of the folder given once, so
 * that what was found before stays found. Prints one TAP line for tests/run. */
#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* In a buffer of exactly its size, so that a sanitizer sees the first byte too many. */
static int replay_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data;
	long bytes;

	if (!file || fseek(file, 0, SEEK_END) != 0 || (bytes = ftell(file)) < 0)
		return -1;
	rewind(file);
	data = malloc((size_t)bytes);
	if ((!data && bytes > 0) || fread(data, 1, (size_t)bytes, file) != (size_t)bytes)
		return -1;
	fclose(file);
	fprintf(stderr, "%s\n", path);
	LLVMFuzzerTestOneInput(data, (size_t)bytes);
	free(data);
	return 0;
}

int main(int argc, char **argv)
{
	char path[4096];
	struct dirent *entry;
	DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
	int count = 0;

	if (!folder) {
		fprintf(stderr, "usage: %s CORPUS\n", argv[0]);
		return 2;
	}
	while ((entry = readdir(folder))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name);
		if (replay_file(path) != 0) {
			perror(path);
			return 1;
		}
		count++;
	}
	closedir(folder);
	printf("1..1\n%s 1 - replay of %d inputs\n", count > 0 ? "ok" : "not ok", count);
	return count > 0 ? 0 : 1;
}
