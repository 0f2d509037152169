package build

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module"
)

// hints are what to say about errors of clang, in a module author's words. The
// text may quote what the expression has found.
var hints = []struct {
	says *regexp.Regexp
	hint string
}{
	{regexp.MustCompile(`undeclared identifier 'tw_event_(\w+)'`),
		"there is no event %s: the events are " + strings.ReplaceAll(taskwatch.AllKinds.String(), ",", ", ") +
			"; functions of attach, detach, execed and step are called for what is no event"},
	{regexp.MustCompile(`undeclared identifier 'tw_power_(\w+)'`),
		"there is no power %s: the powers are " + strings.Join(module.Powers, ", ")},
	{regexp.MustCompile(`no member named '(\w+)' in 'struct task_struct'`),
		"task_watchers.h has the fields of a task that watchers need most, and %[1]s is not among them. The task_*() functions work in the kernel and in the sandbox. " +
			"In the kernel a module may declare others: struct task_struct___mine { TYPE %[1]s; } __attribute__((preserve_access_index)); " +
			"and read ((struct task_struct___mine *)tsk)->%[1]s"},
	{regexp.MustCompile(`no member named '(\w+)' in 'struct \w+'`),
		"task_watchers.h has the fields that watchers need most, and %[1]s is not among them. In the kernel a module may declare others, in its own structure with " +
			"___mine after the name and __attribute__((preserve_access_index)); see docs/modules.md"},
	{regexp.MustCompile(`incomplete definition of type 'struct (\w+)'`),
		"task_watchers.h does not have this structure. In the kernel a module may declare the fields that it needs: " +
			"struct %s { ... } __attribute__((preserve_access_index)); the loader finds their places in the running kernel"},
	{regexp.MustCompile(`'(\w+/)?(vmlinux|bpf_helpers|bpf_tracing|bpf_core_read|bpf)\.h' file not found`),
		"task_watchers.h stands alone: it has the kernel's types and helpers that watchers need, and takes the place of vmlinux.h and of libbpf's headers"},
	{regexp.MustCompile(`'([\w/.-]+\.h)' file not found`),
		"a module has no C library, in the kernel or in the sandbox: leave #include <%s> out. task_watchers.h has the types; " +
			"the compiler has __builtin_memcpy, __builtin_memset and __builtin_memcmp, for sizes that are constants"},
	{regexp.MustCompile(`(?:undeclared (?:library )?function|implicit declaration of function|declaring library function) '(mem\w+|str\w+|\w*printf|malloc|free)'`),
		"a module has no C library: there is no %s. The compiler has __builtin_memcpy, __builtin_memset and __builtin_memcmp, for sizes that are constants"},
}

// withHints returns the compiler's messages with what to do about them, each
// hint once.
func withHints(messages string) string {
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
