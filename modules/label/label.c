/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * label: 16 bytes for each process, such as the id of a job or of a trace. They are
 * set from outside, in the map `labels`, or by a rule of the parameters. A process
 * that is made has the label of its maker; an exec keeps it, or drops it.
 *
 * Labels are kept by process id, and not in the storage of a task: the id stays the
 * same when a thread that is not the first calls exec, and can be given from outside
 * on every kernel.
 */
#include "task_watchers.h"

module_param(inherit, bool, true);
MODULE_PARM_DESC(inherit, "give a new process the label of its maker");
module_param(drop_at_exec, bool, false);
MODULE_PARM_DESC(drop_at_exec, "drop the label of a process that runs a program");
module_param_string(value, 33, "");
MODULE_PARM_DESC(value, "the label that the rules give: text of at most 16 bytes, or 32 hexadecimal digits");
module_param(children, int, 0);
MODULE_PARM_DESC(children, "a rule: give it to the processes that this process makes");
/* Shorter than what it is compared with has room for: a path that is cut there differs. */
module_param_string(exe, 127, "");
MODULE_PARM_DESC(exe, "a rule: give it to a process that runs this program");
module_param(uid, int, -1);
MODULE_PARM_DESC(uid, "a rule: give it to a process of this user that runs a program; with exe, both must be so");
module_param(records, bool, false);
MODULE_PARM_DESC(records, "send a record of each label that is given, inherited or dropped");

#define CLONE_THREAD 0x00010000

/* What the bytes of a label are. */
#define LABEL_TEXT 1 /* text, with zeros behind it */
#define LABEL_ID 2   /* 16 bytes, which are written as 32 hexadecimal digits */

struct label {
	__u8 bytes[16];
	__u32 form;
};

/* By process id. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, __u32);
	__type(value, struct label);
} labels SEC(".maps");

__u64 given;     /* labels that a rule has given */
__u64 inherited;
__u64 dropped;   /* at exec */
__u64 full;      /* labels that the map had no room for */
__u64 lost;      /* records that the stream had no room for */

static __always_inline int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* parse - make a label of the parameter */
static __always_inline void parse(struct label *l)
{
	bool id = true;

	for (int i = 0; i < 32; i++)
		id = id && digit(value[i]) >= 0;
	l->form = id ? LABEL_ID : LABEL_TEXT;
	for (int i = 0; i < 16; i++)
		l->bytes[i] = id ? digit(value[2 * i]) << 4 | digit(value[2 * i + 1]) : value[i];
	for (int i = 1; i < 16; i++)
		if (!id && !l->bytes[i - 1])
			l->bytes[i] = 0;
}

enum { BY_RULE, BY_CLONE, BY_EXEC };

static const char whys[4][8] = { "rule", "clone", "exec" };
static const char digits[] = "0123456789abcdef";

/* What has become of a label: it arrives as JSON. */
struct change {
	__u32 pid;
	char label[33];
	char by[8];
};

static __noinline int tell(const struct label *l, __u32 pid, __u32 by)
{
	struct change c = { .pid = pid };

	for (int i = 0; i < 16; i++) {
		if (l->form == LABEL_ID) {
			c.label[2 * i] = digits[l->bytes[i] >> 4];
			c.label[2 * i + 1] = digits[l->bytes[i] & 15];
		} else {
			c.label[i] = l->bytes[i];
		}
	}
	__builtin_memcpy(c.by, whys[by & 3], sizeof(c.by));
	if (task_watcher_emit_struct(&c))
		__sync_fetch_and_add(&lost, 1);
	return 0;
}

/* set - returns whether there was room */
static __always_inline bool set(__u32 pid, const struct label *l, __u32 by)
{
	if (bpf_map_update_elem(&labels, &pid, l, BPF_ANY)) {
		__sync_fetch_and_add(&full, 1);
		return false;
	}
	__sync_fetch_and_add(by == BY_RULE ? &given : &inherited, 1);
	if (records)
		tell(l, pid, by);
	return true;
}

static int cloned(unsigned long flags, struct task_struct *tsk)
{
	__u32 pid = tsk->tgid, maker = bpf_get_current_pid_tgid() >> 32;
	struct label l, *of_maker;
	bool has = false;

	if (flags & CLONE_THREAD)
		return 0;
	if (children && maker == children && value[0]) {
		parse(&l);
		has = set(pid, &l, BY_RULE);
	} else if (inherit) {
		of_maker = bpf_map_lookup_elem(&labels, &maker);
		if (of_maker) {
			l = *of_maker;
			has = set(pid, &l, BY_CLONE);
		}
	}
	/* What somebody has set for an earlier process of this id is not its own. */
	if (!has && bpf_map_lookup_elem(&labels, &pid))
		bpf_map_delete_elem(&labels, &pid);
	return 0;
}
task_watcher_func(clone, cloned);

/* chosen - not a part of its caller, whose stack it would enlarge */
static __noinline int chosen(struct task_struct *tsk)
{
	char path[128];

	if (!value[0] || (uid == -1 && !exe[0]))
		return false;
	if (uid != -1 && task_uid(tsk) != (__u32)uid)
		return false;
	if (!exe[0])
		return true;
	task_exe(tsk, path, sizeof(path));
	return task_string_is(path, sizeof(path), exe);
}

static int executed(unsigned long zero, struct task_struct *tsk)
{
	__u32 pid = tsk->tgid;
	struct label l, *old;

	if (drop_at_exec) {
		old = bpf_map_lookup_elem(&labels, &pid);
		if (old) {
			l = *old;
			bpf_map_delete_elem(&labels, &pid);
			__sync_fetch_and_add(&dropped, 1);
			if (records)
				tell(&l, pid, BY_EXEC);
		}
	}
	if (chosen(tsk)) {
		parse(&l);
		set(pid, &l, BY_RULE);
	}
	return 0;
}
task_watcher_func(exec, executed);

static int exited(unsigned long code, struct task_struct *tsk)
{
	__u32 pid = tsk->tgid;

	if (!tsk->signal->live.counter && bpf_map_lookup_elem(&labels, &pid)) /* it was the last thread */
		bpf_map_delete_elem(&labels, &pid);
	return 0;
}
task_watcher_func(exit, exited);

/*
 * The field `label` of events. The stream calls it, in the place of its own function
 * task_label. For that this module is called before the stream at clone and exec, and
 * after it at exit.
 */
SEC(".task_watchers.label")
int label_of(struct task_struct *tsk, __u64 *label, __u32 *form)
{
	__u32 pid = tsk->tgid;
	struct label *l = bpf_map_lookup_elem(&labels, &pid);

	if (l) {
		__builtin_memcpy(label, l->bytes, sizeof(l->bytes));
		*form = l->form;
	}
	return 1;
}

MODULE_LICENSE("Dual BSD/GPL");
MODULE_DESCRIPTION("a label for each process, which its descendants inherit");
