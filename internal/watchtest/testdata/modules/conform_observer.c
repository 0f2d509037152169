/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Two watchers on every event. */
#include "conform.h"

#define TWO(ev) WATCHER(ev, 0) WATCHER(ev, 1)

TWO(init)
TWO(clone)
TWO(exec)
TWO(uid)
TWO(gid)
TWO(exit)
TWO(free)
