#include "project.h"

int do_max(int a, int b)
{
	return a > b ? a : b;
}
