/* Structs that are sent: from two functions, one of them inlined, and text. */
#include "task_watchers.h"

struct note {
	__u64 z;
	char a[8];
	struct {
		__s16 x, y;
	} at[2];
	double ratio;
};

static inline void send(__u64 n)
{
	struct note v = { .z = n, .a = "second", .ratio = 0.5 };

	task_watcher_emit_struct(&v);
}

static int first(unsigned long val, struct task_struct *tsk)
{
	struct note v = { .z = -1ull, .a = "first", .at = { { 1, -1 } } };
	struct {
		bool yes;
	} small = { true };

	if (task_watcher_emit_struct(&v) || task_watcher_emit_struct(&small))
		return -1;
	send(2);
	send(3);
	return task_watcher_emit("bytes", 5);
}
task_watcher_func(exec, first);
