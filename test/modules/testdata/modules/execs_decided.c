/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The same where the kernel decides: about the program, or again, about the last
 * interpreter of a script.
 */
#define DECIDED
#include "execs.c"

MODULE_VETO(exec);
