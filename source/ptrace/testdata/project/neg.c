#include "project.h"

int do_neg(int a, int b)
{
	return -a - b;
}
