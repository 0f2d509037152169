/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * classify: decides by rules of cgrules.conf's meaning which control group a
 * process belongs into, and says so in a record where that is another one than
 * before. 'taskwatch classify' fills in the rules and moves the process.
 *
 * It decides at exec and at a change of ids; a new task has its maker's decision,
 * as it has its group.
 *
 * By choice it stops a process that is to be moved, which is in the map `stopped`
 * until it was continued.
 */
#include "task_watchers.h"

module_param(stop, bool, false);
MODULE_PARM_DESC(stop, "stop a process that is to be moved; whoever moves it continues it");

#define RULES 256
#define PATH_LEN 64
#define NAME_LEN 16
#define PATH_WORDS (PATH_LEN / 8)
#define NAME_WORDS (NAME_LEN / 8)

#define WHO_NOBODY 0 /* the end of the rules */
#define WHO_ALL 1
#define WHO_USER 2
#define WHO_GROUP 3

/* A rule's line may take several entries: one for each member of a group. As
 * package internal/classify writes it. */
struct rule {
	__u32 who;
	__u32 id;
	__u32 number;   /* of the rule, from 1 on */
	__u32 reserved;
	__u64 path[PATH_WORDS], path_mask[PATH_WORDS]; /* of the program; a mask of 0 asks nothing */
	__u64 name[NAME_WORDS], name_mask[NAME_WORDS]; /* of the task */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RULES);
	__type(key, __u32);
	__type(value, struct rule);
} rules SEC(".maps");

/* As package internal/classify reads it. */
struct decision {
	__u32 pid, tid;
	__u32 uid, gid; /* effective */
	__u32 number;   /* of the rule */
	__u32 reserved;
	__u64 start_ns; /* of the process, CLOCK_BOOTTIME */
	char name[NAME_LEN];
};

struct state {
	__u32 number; /* of the rule that was last decided on; 0 for none */
	__u32 known;
	__u64 path[PATH_WORDS]; /* of the program; of a script, the name by which it was called */
};
task_table(states, struct state, 131072);

MODULE_ATTACH_AT_LEAST_ONCE;

/*
 * By process id: when the process started, as in struct decision. With an entry of
 * the process id 0, nobody stays stopped: whoever continues the processes has gone,
 * or is about to.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, __u64);
} stopped SEC(".maps");

#define SIGCONT 18
#define SIGSTOP 19

__u64 decided; /* how often rules were looked at */
__u64 dropped; /* decisions that the stream had no room for */
__u64 halts;   /* how often a process was stopped */

struct search {
	__u64 path[PATH_WORDS];
	__u64 name[NAME_WORDS];
	__u32 uid, gid;
	__u32 number;
};

static long look(__u32 i, struct search *s)
{
	struct rule *r = bpf_map_lookup_elem(&rules, &i);
	__u64 differs = 0;

	if (!r || r->who == WHO_NOBODY)
		return 1;
	for (int w = 0; w < PATH_WORDS; w++)
		differs |= (s->path[w] ^ r->path[w]) & r->path_mask[w];
	for (int w = 0; w < NAME_WORDS; w++)
		differs |= (s->name[w] ^ r->name[w]) & r->name_mask[w];
	if (differs || (r->who == WHO_USER && r->id != s->uid) || (r->who == WHO_GROUP && r->id != s->gid))
		return 0;
	s->number = r->number;
	return 1;
}

/* find - the number of the first rule that fits, or 0. This and tell have frames of
 * their own: together, and with what a record takes, they need more stack than
 * there is. */
static __noinline int find(struct task_struct *tsk, const struct state *st, __u32 uid, __u32 gid)
{
	struct search s = {.uid = uid, .gid = gid};
	__u32 number = 0;

	__builtin_memcpy(s.path, st->path, sizeof(s.path));
	task_comm(tsk, (char *)s.name);
	bpf_loop(RULES, look, &s, 0);
	bpf_probe_read_kernel(&number, sizeof(number), &s.number); /* the verifier saw no turn of the loop */
	__sync_fetch_and_add(&decided, 1);
	return number;
}

static __noinline int tell(struct task_struct *tsk, __u32 number, __u32 uid, __u32 gid)
{
	struct decision d = {.number = number, .uid = uid, .gid = gid};
	__u32 nobody = 0;
	bool halted, lost;

	d.pid = task_pid(tsk);
	d.tid = task_tid(tsk);
	d.start_ns = kernel_read(kernel_read(tsk->group_leader)->start_boottime);
	task_comm(tsk, d.name);
	/* Before the decision is known: otherwise it might be continued first. */
	halted = stop && tsk == bpf_get_current_task_btf() && !bpf_map_update_elem(&stopped, &d.pid, &d.start_ns, BPF_ANY) &&
		 !bpf_send_signal(SIGSTOP);
	lost = task_watcher_emit(&d, sizeof(d));
	if (lost)
		__sync_fetch_and_add(&dropped, 1);
	if (!halted)
		return 0;
	/*
	 * Whoever continues all at once may have done that before this one was stopped.
	 * Then its own entry is gone, or that of 0 is there. The fetch is a barrier.
	 */
	__sync_fetch_and_add(&halts, 1);
	if ((lost || !bpf_map_lookup_elem(&stopped, &d.pid) || bpf_map_lookup_elem(&stopped, &nobody)) && !bpf_send_signal(SIGCONT))
		bpf_map_delete_elem(&stopped, &d.pid);
	return 0;
}

/* decide - look for the first rule, and say which it is if it is another one */
static __always_inline void decide(struct task_struct *tsk, struct state *st, __u32 uid, __u32 gid)
{
	__u32 number = find(tsk, st, uid, gid);

	if (st->number == number)
		return;
	st->number = number;
	if (number)
		tell(tsk, number, uid, gid);
}

/* state_of - what is known of the task, with the path of its program */
static __always_inline struct state *state_of(struct task_struct *tsk)
{
	struct state *st = states_create(tsk);

	if (st && !st->known) {
		task_exe(tsk, (char *)st->path, sizeof(st->path));
		st->known = 1;
	}
	return st;
}

static int born(unsigned long flags, struct task_struct *tsk)
{
	states_inherit(tsk);
	return 0;
}
task_watcher_func(clone, born);

static int exited(unsigned long code, struct task_struct *tsk)
{
	states_delete(tsk);
	return 0;
}
task_watcher_func(exit, exited);

static int existed(unsigned long zero, struct task_struct *tsk)
{
	struct state *st;

	if (!tsk->mm || tsk->exit_state)
		return 0; /* a thread of the kernel, or one that is gone */
	st = state_of(tsk);
	if (st)
		decide(tsk, st, task_euid(tsk), task_egid(tsk));
	return 0;
}
task_watcher_func(attach, existed);

static int executed(unsigned long zero, struct task_struct *tsk, struct linux_binprm *bprm)
{
	struct state *st = states_create(tsk);

	if (!st)
		return 0;
	__builtin_memset(st->path, 0, sizeof(st->path));
	/* Not task_exec_path(): Linux 6.1 counts more stack for it than there is. */
	if (task_exec_script(bprm))
		bpf_probe_read_kernel_str(st->path, sizeof(st->path), kernel_read(bprm->filename));
	else
		file_path(tsk, kernel_read(bprm->file), (char *)st->path, sizeof(st->path));
	st->known = 1;
	decide(tsk, st, task_euid(tsk), task_egid(tsk));
	return 0;
}
task_exec_watcher_func(executed);

static int uid_changed(unsigned long zero, struct task_struct *tsk, const struct task_ids *ids)
{
	struct state *st = state_of(tsk);

	if (st)
		decide(tsk, st, ids->now[TASK_ID_EFFECTIVE], task_egid(tsk));
	return 0;
}
task_ids_watcher_func(uid, uid_changed);

static int gid_changed(unsigned long zero, struct task_struct *tsk, const struct task_ids *ids)
{
	struct state *st = state_of(tsk);

	if (st)
		decide(tsk, st, task_euid(tsk), ids->now[TASK_ID_EFFECTIVE]);
	return 0;
}
task_ids_watcher_func(gid, gid_changed);

MODULE_POWER(signal);
MODULE_LICENSE("Dual BSD/GPL");
MODULE_DESCRIPTION("decides by rules which control group a process belongs into");
