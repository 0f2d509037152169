/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lifefaults, where no entry of a task that was freed can stay. */
#define KEPT_MAX 0
#include "lifefaults.c"
