#include "project.h"

int do_div(int a, int b)
{
	return b ? a / b : 0;
}
