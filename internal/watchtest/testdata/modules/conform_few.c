/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One watcher on init and three on exit. */
#include "conform.h"

WATCHER(init, 0)
WATCHER(exit, 0)
WATCHER(exit, 1)
WATCHER(exit, 2)
