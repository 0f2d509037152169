/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* waits: says that it runs, and waits for the end of its input. */
#include <unistd.h>

int main(void)
{
	char c;

	if (write(1, "up\n", 3) != 3)
		return 1;
	while (read(0, &c, 1) > 0)
		;
	return 0;
}
