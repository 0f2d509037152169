#include "project.h"

int do_sum(int a, int b)
{
	int s = 0;

	while (a <= b)
		s += a++;
	return s;
}
