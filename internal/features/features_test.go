package features

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// asNobody makes this test binary print what it finds and end.
const asNobody = "TASKWATCH_TEST_PROBE"

func TestMain(m *testing.M) {
	if os.Getenv(asNobody) != "" {
		for _, f := range All() {
			io.WriteString(os.Stdout, f.Name+"="+f.Probe().String()+"\n")
		}
		os.Exit(0)
	}
	testutil.Main(m)
}

// TestProbes checks that every answer has what belongs to it, that probing
// again gives the same, and that nothing stays in the kernel.
func TestProbes(t *testing.T) {
	before := kernelObjects(t)
	for _, f := range All() {
		r := f.Probe()
		t.Logf("%s: %s", f.Name, r)
		if (r.Answer == Yes) != (r.Reason == "") {
			t.Errorf("%s: answer %v with the reason %q", f.Name, r.Answer, r.Reason)
		}
		if again := f.Probe(); again.Answer != r.Answer {
			t.Errorf("%s: %s, and then %s", f.Name, r, again)
		}
		err := f.Need()
		if (err == nil) != (r.Answer == Yes) || errors.Is(err, errors.ErrUnsupported) != (r.Answer == No) {
			t.Errorf("%s: %s, and Need says %v", f.Name, r, err)
		}
	}
	after := kernelObjects(t)
	for end := time.Now().Add(time.Minute); after != before && time.Now().Before(end); after = kernelObjects(t) {
		time.Sleep(time.Millisecond) // a program goes some grace periods after its last user
	}
	if after != before {
		t.Errorf("BPF programs and links before: %v, after: %v", before, after)
	}
}

// kernelObjects lists the ids of this process's kind of programs and of links,
// as far as this process may.
func kernelObjects(t *testing.T) (counts [2]int) {
	t.Helper()
	id := ebpf.ProgramID(0)
	for {
		next, err := ebpf.ProgramGetNextID(id)
		if err != nil {
			break
		}
		id = next
		p, err := ebpf.NewProgramFromID(id)
		if err != nil {
			continue
		}
		info, err := p.Info()
		if err == nil && info.Name == "" { // the probes give no names
			counts[0]++
		}
		p.Close()
	}
	it := new(link.Iterator)
	defer it.Close()
	for it.Next() {
		if info, err := it.Link.Info(); err == nil {
			if p, err := ebpf.NewProgramFromID(info.Program); err == nil {
				if pi, err := p.Info(); err == nil && pi.Name == "" {
					counts[1]++
				}
				p.Close()
			}
		}
	}
	return counts
}

// TestKnownKernels holds the answers against kernels of which they are known:
// those that the kernel matrix boots.
func TestKnownKernels(t *testing.T) {
	vm := os.Getenv("TASKWATCH_VM")
	if vm == "" {
		testutil.Skip(t, "a machine of the kernel matrix", func() bool { return os.Getenv("TASKWATCH_VM") != "" })
	}
	for _, f := range All() {
		want := Yes
		if f == LSM && os.Getenv("TASKWATCH_VM_LSM") == "none" {
			want = No
		}
		// arm64 has BPF trampolines since Linux 6.4 (f5e770eec1ff and what precedes it).
		if runtime.GOARCH == "arm64" && (f == LSM || f == FmodRet || f == Fentry) && !testutil.NeedsKernel(6, 4).Met() {
			want = No
		}
		if r := f.Probe(); r.Answer != want {
			t.Errorf("Debian's kernel %s as root: %s is %s, want %v", vm, f.Name, r, want)
		}
	}
}

// TestUnprivileged looks as the user 65534. BPF may not be said to be missing
// where only the privileges are.
func TestUnprivileged(t *testing.T) {
	testutil.Root(t)
	cmd := exec.Command("/proc/self/exe") // the path of the test binary leads through root's directories
	cmd.Env = append(os.Environ(), asNobody+"=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, answer, _ := strings.Cut(strings.TrimSpace(line), "=")
		got[name] = answer
	}
	for _, f := range []*Feature{TracepointBTF, Fentry, FmodRet, LSM} {
		if !strings.HasPrefix(got[f.Name], "inconclusive: ") {
			t.Errorf("%s: %q, want inconclusive", f.Name, got[f.Name])
		}
	}
	for _, f := range []*Feature{Ptrace, Seccomp} {
		if f.Probe().Answer == Yes && got[f.Name] != "yes" {
			t.Errorf("%s: %q, and for root yes", f.Name, got[f.Name])
		}
	}
	if testutil.NeedsKernel(6, 6).Met() && Connector.Probe().Answer == Yes && got[Connector.Name] != "yes" {
		t.Errorf("%s: %q, and for root yes", Connector.Name, got[Connector.Name])
	}
}

// TestCache checks that only conclusive answers are kept.
func TestCache(t *testing.T) {
	answers := []Result{unclear("busy"), unclear("busy"), no("none"), yes}
	calls := 0
	f := &Feature{Name: "x", probe: func() Result { calls++; return answers[calls-1] }}
	for i, want := range []Answer{Inconclusive, Inconclusive, No, No, No} {
		if r := f.Probe(); r.Answer != want {
			t.Errorf("call %d: %s, want %v", i, r, want)
		}
	}
	if calls != 3 {
		t.Errorf("the probe ran %d times, want 3", calls)
	}
	var e *Error
	if err := f.Need(); !errors.As(err, &e) || !strings.Contains(err.Error(), "no x: none") {
		t.Errorf("Need says %v", err)
	}
}
