#include "project.h"

int do_gcd(int a, int b)
{
	return b ? do_gcd(b, a % b) : a;
}
