/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the functions of the header say of one group's tasks, at an exec. */
#include "task_watchers.h"

module_param(gid, __u32, ~0u);

__u64 execs, auid, sessionid, sid, cgroup_id, locked;
char exe[256], parent_exe[256], tty[16], tty_begin[8], text[32];

/* It is in Linux 6.2, and the other one in none. */
void bpf_rcu_read_lock(void) __ksym __weak;
void bpf_rcu_read_unlock(void) __ksym __weak;
void bpf_iter_nothing(void) __ksym __weak;

static int look(unsigned long val, struct task_struct *tsk)
{
	__u64 number = 4711;

	if (task_gid(tsk) != gid)
		return 0;
	auid = task_auid(tsk);
	sessionid = task_sessionid(tsk);
	sid = task_sid(tsk);
	cgroup_id = task_cgroup_id(tsk);
	task_tty(tsk, tty, sizeof(tty));
	task_tty(tsk, tty_begin, sizeof(tty_begin));
	bpf_snprintf(text, sizeof(text), "number %d", &number, sizeof(number));
	if (kernel_has_function(bpf_iter_nothing)) {
		bpf_iter_nothing();
		locked = 99;
	}
	if (kernel_has_function(bpf_rcu_read_lock)) {
		bpf_rcu_read_lock();
		bpf_rcu_read_unlock();
		locked = 1;
	}
	execs++;
	return 0;
}
task_watcher_func(exec, look);

static int paths(unsigned long val, struct task_struct *tsk)
{
	if (task_gid(tsk) != gid)
		return 0;
	task_exe(tsk, exe, sizeof(exe));
	task_parent_exe(tsk, parent_exe, sizeof(parent_exe));
	return 0;
}
task_watcher_func(exec, paths);

MODULE_LICENSE("GPL");
