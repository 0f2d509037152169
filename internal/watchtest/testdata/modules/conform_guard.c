/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Two watchers on every event, which deny where they can. */
#include "conform_observer.c"

MODULE_VETO(init);
MODULE_VETO(exec);
MODULE_VETO(uid);
MODULE_VETO(gid);
