/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The page that the reader maps, and what it says. */
#ifndef TASKWATCH_STREAM_CONTROL_H
#define TASKWATCH_STREAM_CONTROL_H

#include "kernel.h"
#include "constants.h"

struct control control;

#endif
