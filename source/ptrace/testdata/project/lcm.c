#include "project.h"

int do_lcm(int a, int b)
{
	return do_div(do_mul(a, b), do_gcd(a, b));
}
