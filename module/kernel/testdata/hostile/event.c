/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "unlicensed.c"

SEC(".task_watchers.reboot") int __task_watcher_reboot_f(unsigned long val, struct task_struct *tsk) { return 0; }

MODULE_LICENSE("GPL");
