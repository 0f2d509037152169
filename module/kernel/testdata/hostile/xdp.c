/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "unlicensed.c"

SEC("xdp") int drop(void *ctx) { return 1; }

MODULE_LICENSE("GPL");
