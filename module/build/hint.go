package build

import (
	"errors"
	"fmt"
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/lazyregexp"
	"github.com/taskwatch/taskwatch/module"
)

// A hint is what to say about an error of clang, in a module author's words. The
// text may quote what the expression has found.
type hint struct {
	says *lazyregexp.Regexp
	hint string
}

var hints = []hint{
	{lazyregexp.New(`undeclared identifier 'tw_event_(\w+)'`),
		"there is no event %s: the events are " + strings.ReplaceAll(taskwatch.AllKinds.String(), ",", ", ") +
			"; functions of attach, detach, execed and step are called for what is no event"},
	{lazyregexp.New(`undeclared identifier 'tw_power_(\w+)'`),
		"there is no power %s: the powers are " + strings.Join(module.Powers, ", ")},
	{lazyregexp.New(`no member named '(\w+)' in 'struct task_struct'`),
		"task_watchers.h has the fields of a task that watchers need most, and %[1]s is not among them. The task_*() functions work in the kernel and in the sandbox. " +
			"In the kernel a module may declare others: struct task_struct___mine { TYPE %[1]s; } __attribute__((preserve_access_index)); " +
			"and read ((struct task_struct___mine *)tsk)->%[1]s"},
	{lazyregexp.New(`no member named '(\w+)' in 'struct \w+'`),
		"task_watchers.h has the fields that watchers need most, and %[1]s is not among them. In the kernel a module may declare others, in its own structure with " +
			"___mine after the name and __attribute__((preserve_access_index)); see docs/modules.md"},
	{lazyregexp.New(`incomplete definition of type 'struct (\w+)'`),
		"task_watchers.h does not have this structure. In the kernel a module may declare the fields that it needs: " +
			"struct %s { ... } __attribute__((preserve_access_index)); the loader finds their places in the running kernel"},
	{lazyregexp.New(`'(\w+/)?(vmlinux|bpf_helpers|bpf_tracing|bpf_core_read|bpf)\.h' file not found`),
		"task_watchers.h stands alone: it has the kernel's types and helpers that watchers need, and takes the place of vmlinux.h and of libbpf's headers"},
	{lazyregexp.New(`'([\w/.-]+\.h)' file not found`),
		"a module has no C library, in the kernel or in the sandbox: leave #include <%s> out. task_watchers.h has the types; " +
			"the compiler has __builtin_memcpy, __builtin_memset and __builtin_memcmp, for sizes that are constants"},
	{lazyregexp.New(`undeclared (?:library )?function '(str\w+)'`),
		"a module has no C library: there is no %s. task_string_is() compares a text in a buffer with a parameter or a literal, task_string_begins() its beginning"},
	{lazyregexp.New(`undeclared (?:library )?function '(\w*print[fk]|pr_\w+)'`),
		"there is no %s: task_watcher_log(TW_LOG_INFO, \"text\") writes to the log, and task_watcher_emit() sends a record"},
	{lazyregexp.New(`(?:undeclared (?:library )?function|declaring library function) '(mem\w+|malloc|free)'`),
		"a module has no C library: there is no %s. The compiler has __builtin_memcpy, __builtin_memset and __builtin_memcmp, for sizes that are constants"},
	{lazyregexp.New(`undeclared identifier '(current)'`), "there is no %s: the task is what the watcher gets, tsk"},
	{lazyregexp.New(`undeclared identifier 'E[A-Z]+'`), "task_watchers.h has TW_EPERM, TW_ENOENT, TW_EAGAIN, TW_ENOMEM, TW_EACCES and TW_EFAULT; of other errors, give the number"},
	{lazyregexp.New(`unknown type name '(u?int\d+_t|[us]\d+|size_t|[pug]id_t)'`),
		"there is no %s: task_watchers.h has __u8, __u16, __u32, __u64, __s8, __s16, __s32, __s64 and bool"},
	{lazyregexp.New(`struct task_struct \*, (?:const )?struct linux_binprm \*\), int \(\*\)\(unsigned long, struct task_struct \*\)\)`),
		"a watcher that gets the program is registered with task_exec_watcher_func(function), or task_execed_watcher_func"},
	{lazyregexp.New(`struct task_struct \*, (?:const )?struct task_ids \*\), int \(\*\)\(unsigned long, struct task_struct \*\)\)`),
		"a watcher that gets the ids is registered with task_ids_watcher_func(uid, function), or with gid"},
}

// kernelHints are for modules in the kernel.
var kernelHints = []hint{
	{lazyregexp.New(`BPF stack limit is exceeded`),
		"a watcher and what it calls have 512 bytes of stack: keep what is larger in a task_scratch(). Per-CPU memory is not safe, because a watcher may be preempted"},
	{lazyregexp.New(`undeclared function '(bpf_\w+)'`),
		"task_watchers.h has the helpers that watchers need most, and %s is not among them. A module may declare others, as that header does, by the kernel's number; " +
			"functions that have none are declared __ksym: see docs/modules.md"},
}

// sandboxHints are for modules in the sandbox.
var sandboxHints = []hint{
	{lazyregexp.New(`undeclared function '(task_exec_script|task_exec_decided|task_exec_interpreter|task_syscall|file_path|kernel_\w+|bpf_\w+)'`),
		"%s() is for modules in the kernel: docs/sandbox.md has what there is in the sandbox"},
	{lazyregexp.New(`^ *\d+ \|.*\b(task_step_watcher_func|MODULE_ATTACH_AT_LEAST_ONCE)\b`), "%s is for modules in the kernel"},
	{lazyregexp.New(`^ *\d+ \|.*\b(MODULE_SHARED)\(`), "%s is for modules in the kernel: two modules in the sandbox share nothing. Put the watchers of both into one module"},
	{lazyregexp.New(`^ *\d+ \|.*\b(task_table|__uint|SEC)\(`), "%s is for modules in the kernel: the sandbox has no BPF maps. task_storage and process_storage work in both"},
	{lazyregexp.New(`no member named '(group_leader)' in 'struct task_struct'`),
		"the sandbox has no %s: process_storage has a value for each process, in the kernel, too"},
	{lazyregexp.New(`incomplete definition of type 'struct (linux_binprm)'`),
		"the sandbox has no %s: bprm is there only for task_exec_path(), task_exec_argc() and task_exec_arg()"},
	{lazyregexp.New(`type '(.*)' not compatible with any generic association`),
		"%s cannot be set or read from outside: integers, bool, arrays of char (text), and lists of integers can"},
}

// alsoWith completes the error of a compiler with more hints.
func alsoWith(hints []hint, err error) error {
	var e *Error
	if errors.As(err, &e) {
		e.Output = withHints(e.Output, hints)
	}
	return err
}

// withHints returns the compiler's messages with what to do about them, each
// hint once.
func withHints(messages string, hints []hint) string {
	given := map[string]bool{}
	for line := range strings.Lines(messages) {
		for _, h := range hints {
			found := h.says.FindStringSubmatch(line)
			if found == nil {
				continue
			}
			hint := h.hint
			if strings.Contains(hint, "%") {
				hint = fmt.Sprintf(hint, found[1])
			}
			if !given[hint] {
				given[hint] = true
				messages = strings.TrimRight(messages, "\n") + "\nhint: " + hint
			}
			break
		}
	}
	return messages
}
