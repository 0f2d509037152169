#pragma once

int do_add(int a, int b);
int do_sub(int a, int b);
int do_mul(int a, int b);
int do_div(int a, int b);
int do_neg(int a, int b);
int do_abs(int a, int b);
int do_min(int a, int b);
int do_max(int a, int b);
int do_sum(int a, int b);
int do_avg(int a, int b);
int do_gcd(int a, int b);
int do_lcm(int a, int b);
