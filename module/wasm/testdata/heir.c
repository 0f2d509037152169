/* What a module has that takes the place of another one, in its first edition, and in its second one. */
#include "task_watchers.h"

#ifndef SECOND
struct line {
	__u64 execs;
	char label[4];
	__u32 dropped;
};
struct account {
	__u32 execs;
};
task_storage(others, __u32);
__s32 narrow;
char word[4];
__u32 other;
#else
struct line {
	char label[8];
	const char *address;
	__u64 execs;
};
struct account {
	__s8 more;
	__u32 execs;
};
task_storage(others, __s32);
__s64 narrow;
char word[8];
bool other;
#endif
task_storage(lines, struct line);
process_storage(accounts, struct account);
task_storage(addresses, const char *);

module_param(param, __u32, 0);
__u64 total;
__s32 here;
MODULE_GLOBAL(total);
MODULE_GLOBAL(here);
MODULE_GLOBAL(narrow);
MODULE_GLOBAL(word);
MODULE_GLOBAL(other);

static int count(unsigned long val, struct task_struct *tsk)
{
	struct line *l = lines_create(tsk);
	struct account *a = accounts_create(tsk);
	__u32 *o = (__u32 *)others_create(tsk);
	const char **at = addresses_create(tsk);

	total++;
	narrow--;
	other = 1;
	word[0] = 'w';
	if (!l || !a || !o || !at)
		return -TW_ENOMEM;
	l->execs++;
	l->label[0] = 'l';
	a->execs++;
	*o = 7;
	*at = word;
	return 0;
}
task_watcher_func(exec, count);

static int begin(unsigned long val, struct task_struct *tsk)
{
	here++;
	return 0;
}
task_watcher_func(attach, begin);

static int init(unsigned long val, struct task_struct *tsk)
{
	struct line *l = lines_create(tsk);

	if (l)
		l->label[0] = 'i';
	return begin(val, tsk);
}
task_watcher_func(init, init);

static int end(unsigned long val, struct task_struct *tsk)
{
	here--;
#ifdef CRASHES
	__builtin_trap();
#endif
	return 0;
}
task_watcher_func(detach, end);
task_watcher_func(free, end);
