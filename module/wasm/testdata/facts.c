/*
 * facts: what the header's functions say of a task, and where val and ids come
 * from. Watchers stand in another order than their functions.
 */
#include "task_watchers.h"

static int third(unsigned long val, struct task_struct *tsk);
static int first(unsigned long val, struct task_struct *tsk);

__u64 order;
MODULE_GLOBAL(order);

static int second(unsigned long val, struct task_struct *tsk)
{
	order = order * 10 + 2;
	return 0;
}

static int third(unsigned long val, struct task_struct *tsk)
{
	order = order * 10 + 3;
	return 0;
}

static int first(unsigned long val, struct task_struct *tsk)
{
	order = order * 10 + 1;
	return 0;
}
task_watcher_func(free, first);
task_watcher_func(free, second);
task_watcher_func(free, third);

__u64 val64, start, cpu;
MODULE_GLOBAL(val64);
MODULE_GLOBAL(start);
MODULE_GLOBAL(cpu);
__u32 low, uid, euid, gid, egid;
MODULE_GLOBAL(low);
MODULE_GLOBAL(uid);
MODULE_GLOBAL(euid);
MODULE_GLOBAL(gid);
MODULE_GLOBAL(egid);
int pid, tid, ppid, sid;
MODULE_GLOBAL(pid);
MODULE_GLOBAL(tid);
MODULE_GLOBAL(ppid);
MODULE_GLOBAL(sid);
bool leader, missing, no_sid;
MODULE_GLOBAL(leader);
MODULE_GLOBAL(no_sid);
MODULE_GLOBAL(missing);
char comm[16], exe[8], cwd[64], cgroup[64], arg[64], old_exe[64];
MODULE_GLOBAL(comm);
MODULE_GLOBAL(exe);
MODULE_GLOBAL(cwd);
MODULE_GLOBAL(cgroup);
MODULE_GLOBAL(arg);
MODULE_GLOBAL(old_exe);
int lengths[5];
MODULE_GLOBAL(lengths);

static int facts(unsigned long val, struct task_struct *tsk)
{
	low = val;
	val64 = task_val(val, tsk);
	start = task_start_ns(tsk);
	cpu = task_cpu_ns(tsk);
	uid = task_uid(tsk);
	euid = task_euid(tsk);
	gid = task_gid(tsk);
	egid = task_egid(tsk);
	pid = task_pid(tsk);
	tid = task_tid(tsk);
	ppid = task_ppid(tsk);
	sid = task_sid(tsk);
	no_sid = task_missing(tsk, TASK_FIELD_SID);
	leader = task_is_leader(tsk);
	missing = task_missing(tsk, TASK_FIELD_CWD);
	task_comm(tsk, comm);
	lengths[0] = task_exe(tsk, exe, sizeof(exe));
	lengths[1] = task_cwd(tsk, cwd, sizeof(cwd));
	lengths[2] = task_cgroup(tsk, cgroup, sizeof(cgroup));
	lengths[3] = task_argv(tsk, 1, arg, sizeof(arg));
	lengths[4] = task_old_exe(tsk, old_exe, sizeof(old_exe));
	return 0;
}
task_watcher_func(exec, facts);

__u32 ids_old[4], ids_now[4], ids_cause;
MODULE_GLOBAL(ids_old);
MODULE_GLOBAL(ids_now);
MODULE_GLOBAL(ids_cause);

static int changed(unsigned long val, struct task_struct *tsk, const struct task_ids *ids)
{
	for (int i = 0; i < 4; i++) {
		ids_old[i] = ids->old[i];
		ids_now[i] = ids->now[i];
	}
	ids_cause = ids->cause;
	return 0;
}
task_ids_watcher_func(uid, changed);
task_ids_watcher_func(gid, changed);

module_param(p_u8, __u8, 200);
module_param(p_s8, __s8, -100);
module_param(p_u16, __u16, 60000);
module_param(p_s16, __s16, -30000);
module_param(p_u32, __u32, 4000000000u);
module_param(p_int, int, -2000000000);
module_param(p_long, long, -5);
module_param(p_ulong, unsigned long, 5);
module_param(p_u64, __u64, 18000000000000000000ull);
module_param(p_s64, __s64, -9000000000000000000ll);
module_param(p_bool, bool, true);
module_param(p_char, char, 'a');
module_param_string(p_string, 8, "abc");
MODULE_PARM_DESC(p_u8, "eight bits");

MODULE_LICENSE("GPL");
MODULE_AUTHOR("nobody");
MODULE_VERSION("1.2");
MODULE_DESCRIPTION("facts");
MODULE_VETO(uid);
