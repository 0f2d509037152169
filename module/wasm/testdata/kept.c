/* Values of tasks and processes, of all types that there are. */
#define TASK_STORAGE_ROOM 8
#include "task_watchers.h"

enum colour { RED = -1, GREEN = 7 };

struct mixed {
	__u64 n;
	enum colour colour;
	struct {
		char name[4];
		__u8 bytes[2];
	} in[2];
	__u32 flag : 1, small : 5;
	__s32 below : 4;
	union {
		__u32 whole;
		__u8 part[4];
	};
	const char *address;
	long last;
};
task_storage(mixtures, struct mixed);
process_storage(colours, enum colour);

static int seen(unsigned long val, struct task_struct *tsk)
{
	struct mixed *m = mixtures_create(tsk);

	if (m)
		m->n++;
	return 0;
}
task_watcher_func(exec, seen);
