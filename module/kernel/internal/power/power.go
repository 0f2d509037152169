// Package power has the lists of what a watcher may call in the kernel: functions
// that only read, or change nothing but what is the module's own, and functions that
// act on tasks, for which a module has to ask with MODULE_POWER. What is on no list
// is rejected, however harmless: the kernel has new ones with each version.
package power

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/cilium/ebpf/asm"

	"github.com/taskwatch/taskwatch/module"
)

// harmless are the helpers that every module may call.
var harmless = helpers(
	// The module's own maps and storage.
	asm.FnMapLookupElem, asm.FnMapUpdateElem, asm.FnMapDeleteElem, asm.FnMapPushElem, asm.FnMapPopElem, asm.FnMapPeekElem,
	asm.FnMapLookupPercpuElem, asm.FnForEachMapElem, asm.FnSpinLock, asm.FnSpinUnlock, asm.FnKptrXchg,
	asm.FnTaskStorageGet, asm.FnTaskStorageDelete, asm.FnInodeStorageGet, asm.FnInodeStorageDelete,
	asm.FnCgrpStorageGet, asm.FnCgrpStorageDelete, asm.FnSkStorageGet, asm.FnSkStorageDelete,
	asm.FnRingbufOutput, asm.FnRingbufReserve, asm.FnRingbufSubmit, asm.FnRingbufDiscard, asm.FnRingbufQuery,
	asm.FnRingbufReserveDynptr, asm.FnRingbufSubmitDynptr, asm.FnRingbufDiscardDynptr, asm.FnUserRingbufDrain,
	asm.FnPerfEventOutput, asm.FnPerfEventRead, asm.FnPerfEventReadValue,
	// Time, place and chance.
	asm.FnKtimeGetNs, asm.FnKtimeGetBootNs, asm.FnKtimeGetCoarseNs, asm.FnKtimeGetTaiNs, asm.FnJiffies64,
	asm.FnGetPrandomU32, asm.FnGetSmpProcessorId, asm.FnGetNumaNodeId,
	// Who runs.
	asm.FnGetCurrentPidTgid, asm.FnGetNsCurrentPidTgid, asm.FnGetCurrentUidGid, asm.FnGetCurrentComm, asm.FnGetCurrentTask,
	asm.FnGetCurrentTaskBtf, asm.FnGetCurrentCgroupId, asm.FnGetCurrentAncestorCgroupId, asm.FnCurrentTaskUnderCgroup, asm.FnTaskPtRegs,
	// Memory, read.
	asm.FnProbeRead, asm.FnProbeReadStr, asm.FnProbeReadUser, asm.FnProbeReadUserStr, asm.FnProbeReadKernel, asm.FnProbeReadKernelStr,
	asm.FnPerCpuPtr, asm.FnThisCpuPtr, asm.FnFindVma, asm.FnDPath, asm.FnGetStack, asm.FnGetStackid, asm.FnGetTaskStack,
	asm.FnDynptrFromMem, asm.FnDynptrRead, asm.FnDynptrWrite, asm.FnDynptrData,
	// The function that is traced.
	asm.FnGetFuncIp, asm.FnGetFuncArg, asm.FnGetFuncArgCnt, asm.FnGetFuncRet, asm.FnGetAttachCookie, asm.FnGetRetval,
	// Computing.
	asm.FnLoop, asm.FnStrtol, asm.FnStrtoul, asm.FnStrncmp, asm.FnSnprintf, asm.FnSnprintfBtf,
	// The log of tracing (trace_pipe).
	asm.FnTracePrintk, asm.FnTraceVprintk,
)

// acting are the helpers that act, by the power that each takes.
var acting = map[string][]asm.BuiltinFunc{
	module.PowerSignal:     {asm.FnSendSignal, asm.FnSendSignalThread},
	module.PowerUserMemory: {asm.FnProbeWriteUser},
	module.PowerResult:     {asm.FnOverrideReturn, asm.FnSetRetval, asm.FnBprmOptsSet},
}

// forbidden are those that no module may call, with the reason.
var forbidden = map[string]string{
	"bpf_tail_call":                 "a tail call would skip the watchers after this one",
	"bpf_throw":                     "an exception would skip the watchers after this one",
	"bpf_timer_init":                "a timer would run after the module is gone",
	"bpf_timer_set_callback":        "a timer would run after the module is gone",
	"bpf_timer_start":               "a timer would run after the module is gone",
	"bpf_wq_init":                   "work that is put off would run after the module is gone",
	"bpf_wq_set_callback_impl":      "work that is put off would run after the module is gone",
	"bpf_wq_start":                  "work that is put off would run after the module is gone",
	"bpf_task_work_schedule_resume": "work that is put off would run after the module is gone",
	"bpf_task_work_schedule_signal": "work that is put off would run after the module is gone",
}

// harmlessKfuncs are the kernel functions that every module may call; one that
// ends with * stands for all that begin so.
var harmlessKfuncs = []string{
	"bpf_cast_to_kern_ctx", "bpf_rdonly_cast", "bpf_rcu_read_lock", "bpf_rcu_read_unlock",
	"bpf_task_acquire", "bpf_task_release", "bpf_task_from_pid", "bpf_task_from_vpid", "bpf_task_under_cgroup", "bpf_task_get_cgroup1",
	"bpf_cgroup_acquire", "bpf_cgroup_release", "bpf_cgroup_ancestor", "bpf_cgroup_from_id", "bpf_cgroup_read_xattr",
	"bpf_get_task_exe_file", "bpf_put_file", "bpf_path_d_path", "bpf_get_file_xattr", "bpf_get_dentry_xattr", "bpf_get_fsverity_digest",
	"bpf_obj_new_impl", "bpf_obj_drop_impl", "bpf_percpu_obj_new_impl", "bpf_percpu_obj_drop_impl", "bpf_refcount_acquire_impl",
	"bpf_list_*", "bpf_rbtree_*", "bpf_cpumask_*", "bpf_iter_*", "bpf_dynptr_*", "bpf_map_sum_elem_count",
	"bpf_str*", "bpf_get_kmem_cache",
}

// actingKfuncs are those that act, with the power that each takes.
var actingKfuncs = map[string]string{
	"bpf_send_signal_task": module.PowerSignal,
}

func helpers(list ...asm.BuiltinFunc) map[asm.BuiltinFunc]bool {
	m := map[asm.BuiltinFunc]bool{}
	for _, fn := range list {
		m[fn] = true
	}
	return m
}

// HelperName returns the kernel's name of a helper.
func HelperName(fn asm.BuiltinFunc) string {
	camel, ok := strings.CutPrefix(fn.String(), "Fn")
	if !ok {
		return fmt.Sprintf("the helper of number %d", int32(fn))
	}
	var b strings.Builder
	b.WriteString("bpf")
	for _, r := range camel {
		if unicode.IsUpper(r) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// Of returns the power that a call takes, or "". An error says that no
// module may have it.
func Of(ins *asm.Instruction) (name, power string, err error) {
	if ins.IsKfuncCall() {
		name = ins.Reference()
		power = actingKfuncs[name]
		if power == "" && !slices.ContainsFunc(harmlessKfuncs, func(p string) bool { return matches(p, name) }) {
			err = errPower(name)
		}
		return name, power, err
	}
	fn := asm.BuiltinFunc(ins.Constant)
	name = HelperName(fn)
	for p, list := range acting {
		if slices.Contains(list, fn) {
			return name, p, nil
		}
	}
	if !harmless[fn] {
		err = errPower(name)
	}
	return name, "", err
}

func matches(pattern, name string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return pattern == name
}

func errPower(name string) error {
	if why := forbidden[name]; why != "" {
		return fmt.Errorf("%s: %s", name, why)
	}
	return fmt.Errorf("%s, which is not on the lists of functions that modules may call (see docs/security.md)", name)
}
