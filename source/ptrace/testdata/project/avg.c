#include "project.h"

int do_avg(int a, int b)
{
	return do_div(do_add(a, b), 2);
}
