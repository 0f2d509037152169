/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The stream: one record in one ring buffer for every event of a task. Records
 * are reserved where the event happens, so the buffer's order is causal: what
 * a child does is behind its clone.
 *
 * It is a built-in of the table of module/kernel, which attaches and calls the
 * functions defined with watcher().
 */
#include "kernel.h"

char _license[] SEC("license") = "Dual BSD/GPL";
static const char api[] SEC(".modinfo") = "task_watchers=1"; /* see include/task_watchers.h */

#include "fork.h"
#include "exec.h"
#include "exit.h"
#include "ids.h"
#include "failed.h"
#include "report.h"
#include "hold.h"
#include "signal.h"
#include "iter.h"
#include "enter.h"
