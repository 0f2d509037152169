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

typedef struct {
	__int128 big;
	long double longer;
	double ratio;
	_Bool flag : 1;
	void (*call)(void);
	unsigned short wide[2];
	enum { LARGEST = 1ull << 40 } large;
	int none[0];
	struct __attribute__((packed)) {
		__u8 a;
		__s32 b;
	} packed;
	_Alignas(8) signed char aligned;
} oddity;
task_storage(oddities, oddity);

static int seen(unsigned long val, struct task_struct *tsk)
{
	struct mixed *m = mixtures_create(tsk);

	if (m)
		m->n++;
	return 0;
}
task_watcher_func(exec, seen);
