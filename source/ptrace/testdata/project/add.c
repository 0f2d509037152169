#include "project.h"

int do_add(int a, int b)
{
	return a + b;
}
