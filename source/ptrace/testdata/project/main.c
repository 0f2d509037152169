#include <stdio.h>

#include "config.h"
#include "project.h"

int main(int argc, char **argv)
{
	(void)argv;
	printf("%s %d %d\n", NAME, do_sum(1, 12), do_lcm(4, 6));
	return argc > 1 ? 3 : 0;
}
