#include "task_watchers.h"
module_param(limit, __u32, 100);
MODULE_PARM_DESC(limit, "how many");
module_param_string(prefix, 32, "/opt/");
module_param(on, bool, true);
__u64 execs; MODULE_GLOBAL(execs);
int arr[4]; MODULE_GLOBAL(arr);
char last[32]; MODULE_GLOBAL(last);
static int count_exec(unsigned long val, struct task_struct *tsk)
{
        __sync_fetch_and_add(&execs, 1);
	arr[execs & 3]++;
#ifdef __wasm__
	task_exe(tsk, last, sizeof(last));
#endif
	struct task_struct copy = *tsk;
	task_watcher_emit(&copy.comm, 8);
        return 0;
}
static int b(unsigned long val, struct task_struct *tsk) { return -TW_EPERM; }
static int a(unsigned long val, struct task_struct *tsk) { return limit; }
task_watcher_func(exec, b);
task_watcher_func(exec, count_exec);
task_watcher_func(exec, a);
static int ids(unsigned long val, struct task_struct *tsk, const struct task_ids *ids) { return ids->old[0] == ids->now[1] ? -TW_EAGAIN : 0; }
task_ids_watcher_func(uid, ids);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("x");
MODULE_VETO(exec);
