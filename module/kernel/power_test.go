package kernel

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module"
)

// caller returns the object of a module that calls a function of the kernel.
func caller(t *testing.T, declaration, call, more string) []byte {
	t.Helper()
	testutil.Require(t, testmodule.NeedsCompiler)
	file := filepath.Join(t.TempDir(), "m.c")
	source := fmt.Sprintf("#include \"task_watchers.h\"\n%s\nstatic int f(unsigned long val, struct task_struct *tsk)\n{\n\t%s;\n\treturn 0;\n}\n"+
		"task_watcher_func(exec, f);\nMODULE_LICENSE(\"GPL\");\n%s\n", declaration, call, more)
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	return testmodule.Object(t, file)
}

// What acts has to be asked for, and what nobody knows is not loaded.
func TestPowers(t *testing.T) {
	const write = "static long (*const bpf_probe_write_user)(void *dst, const void *src, __u32 len) = (void *)36;"
	for _, c := range []struct{ name, declaration, call, more, says string }{
		{"asked for", "", "bpf_send_signal(0)", "MODULE_POWER(signal);", ""},
		{"not asked for", "", "bpf_send_signal(0)", "", "watcher f on exec calls bpf_send_signal, which needs a power that the module does not ask for: add MODULE_POWER(signal)"},
		{"another was asked for", write, `bpf_probe_write_user((void *)val, "x", 1)`, "MODULE_POWER(signal);", "MODULE_POWER(user_memory)"},
		{"a helper on no list", "static long (*const bpf_sys_close)(__u32 fd) = (void *)168;", "bpf_sys_close(3)", "MODULE_POWER(signal);", "watcher f on exec calls bpf_sys_close, which is not on the lists"},
		{"a helper of no name", "static long (*const bpf_new)(void) = (void *)4711;", "bpf_new()", "", "the helper of number 4711, which is not on the lists"},
		{"a kernel function on no list", "extern void crash_kexec(void *regs) __attribute__((section(\".ksyms\")));", "crash_kexec(0)", "", "crash_kexec, which is not on the lists"},
		{"an exception", "extern void bpf_throw(__u64 cookie) __attribute__((section(\".ksyms\")));", "bpf_throw(0)", "", "skip the watchers after"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := Parse("m", caller(t, c.declaration, c.call, c.more))
			if c.says != "" {
				wantError(t, err, taskwatch.ErrInvalid, c.says)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(o.Powers, []string{module.PowerSignal}) {
				t.Errorf("powers %v", o.Powers)
			}
		})
	}
	if _, err := module.ParseInfo([]byte("power=fly\x00")); err == nil || !strings.Contains(err.Error(), "the powers are signal") {
		t.Errorf("a power that there is not: %v", err)
	}
}

// A dry run has no effect: what acts is not part of it.
func TestPowersInDryRun(t *testing.T) {
	object := caller(t, "", "bpf_send_signal(0)", "MODULE_POWER(signal);")
	table := newTable(t, Config{DryRun: true})
	o, err := Parse("acts", object)
	if err != nil {
		t.Fatal(err)
	}
	m, err := o.Load(LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	wantError(t, table.Register(m, RegisterOptions{}), taskwatch.ErrInvalid, `module "acts"`, "MODULE_POWER(signal)", "dry run")
}

// What a failed load means is told apart, with the remedy.
func TestRejected(t *testing.T) {
	log := []string{"0: (85) call bpf_loop#181", "invalid mem access 'scalar'", "processed 3 insns"}
	for _, c := range []struct {
		err      error
		verifier bool
		says     string
	}{
		{&ebpf.VerifierError{Cause: unix.EACCES, Log: log}, true, "a plain number was used as a pointer"},
		{fmt.Errorf("%w (hit verifier bug)", unix.EFAULT), true, "the verifier itself failed"}, // as the library says it
		{&ebpf.VerifierError{Cause: unix.E2BIG}, true, "1,000,000 instructions"},
		{&ebpf.VerifierError{Cause: unix.EMFILE, Log: log}, false, "LimitNOFILE="},
		{&ebpf.VerifierError{Cause: unix.ENFILE}, false, "LimitNOFILE="},
		{&ebpf.VerifierError{Cause: unix.ENOSYS}, false, "seccomp"},
		{&ebpf.VerifierError{Cause: unix.EPERM, Log: log}, false, ""},
		{unix.E2BIG, false, "a map is too large"},
		{unix.ENOMEM, false, "a map is too large"},
	} {
		e := rejected(fmt.Errorf("load: %w", c.err))
		if errors.Is(e, ErrVerify) != c.verifier || !strings.Contains(e.Error(), c.says) || e.Hint == "" {
			t.Errorf("%v: %v; by the verifier: %v, want %v with %q", c.err, e, errors.Is(e, ErrVerify), c.verifier, c.says)
		}
	}
}
