#include "project.h"

int do_sub(int a, int b)
{
	return a - b;
}
