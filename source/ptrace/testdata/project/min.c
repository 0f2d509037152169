#include "project.h"

int do_min(int a, int b)
{
	return a < b ? a : b;
}
