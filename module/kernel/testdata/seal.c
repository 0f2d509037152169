/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* seal FILE...: has fs-verity guard the files, and prints a line with each digest. */
#include <fcntl.h>
#include <linux/fsverity.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		struct fsverity_enable_arg how = { .version = 1, .hash_algorithm = FS_VERITY_HASH_ALG_SHA256, .block_size = 4096 };
		union {
			struct fsverity_digest digest;
			unsigned char room[sizeof(struct fsverity_digest) + 64];
		} got = { .digest.digest_size = 64 };
		int fd = open(argv[i], O_RDONLY);

		if (fd < 0 || ioctl(fd, FS_IOC_ENABLE_VERITY, &how) || ioctl(fd, FS_IOC_MEASURE_VERITY, &got)) {
			perror(argv[i]);
			return 1;
		}
		for (int j = 0; j < got.digest.digest_size; j++)
			printf("%02x", got.digest.digest[j]);
		puts("");
		close(fd);
	}
	return 0;
}
