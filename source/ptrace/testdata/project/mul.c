#include "project.h"

int do_mul(int a, int b)
{
	return a * b;
}
