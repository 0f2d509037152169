#include "project.h"

int do_abs(int a, int b)
{
	return (a < 0 ? -a : a) + b;
}
