package vm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/test/vm"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// series are the kernels that the harness itself is tested with, and whether
// BPF is among their security modules then.
var series = []struct {
	name, cmdline string
	bpf           bool
}{{"6.1", vm.CmdlineBPF, true}, {"6.12", vm.CmdlineNoBPF, false}}

func kernel(t *testing.T, series string) vm.Kernel {
	t.Helper()
	testutil.Long(t)
	k, err := vm.FindKernel(t.Context(), vm.HostArch, series)
	skipMissing(t, err)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// needsKernels is met where apt knows Debian's kernels.
var needsKernels = testutil.Need{
	What: "Debian's kernels", Remedy: "run apt-get update, on a Debian that has them", Promised: true,
	Met: func() bool { return false }, // as apt has said
}

// skipMissing skips where a program is not installed; the error names its
// package.
func skipMissing(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, vm.ErrUnknownKernel) {
		needsKernels.Skip(t, err.Error())
	}
	if errors.Is(err, exec.ErrNotFound) {
		testutil.Skip(t, err.Error(), func() bool { return false })
	}
}

func run(t *testing.T, cfg vm.Config) (vm.Result, error) {
	t.Helper()
	res, err := vm.Run(t.Context(), cfg)
	skipMissing(t, err)
	return res, err
}

func TestCommandPasses(t *testing.T) {
	for _, s := range series {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			host := filepath.Join(t.TempDir(), "file")
			content := bytes.Repeat([]byte("0123456789abcde\n"), 1<<12)
			if err := os.WriteFile(host, content, 0o600); err != nil {
				t.Fatal(err)
			}
			var live bytes.Buffer
			res, err := run(t, vm.Config{
				Kernel:  kernel(t, s.name),
				Cmdline: "taskwatch.word=some " + s.cmdline,
				Files: []vm.File{
					{Guest: "/data/sub/copied", Host: host},
					{Guest: "/data/link", Link: "sub/copied"},
					{Guest: "/data/text", Data: []byte("odd")},
				},
				Setup: "echo made > /run/made",
				Cmd: []string{"sh", "-c", `
					uname -r; pwd; echo "$VALUE"; echo "arg $1" >&2
					cat /run/made text; echo; cmp link sub/copied && echo same; wc -c < link
					stat -c %a sub/copied
					grep -o taskwatch.word=some /proc/cmdline
					for fs in proc sysfs devtmpfs devpts tmpfs cgroup2 securityfs debugfs tracefs bpf; do
						grep -q " $fs " /proc/mounts || echo "not mounted: $fs"
					done
					ping -c 1 -W 5 127.0.0.1 > /dev/null && echo loopback
					nproc
					tr , '\n' < /sys/kernel/security/lsm | grep -cx bpf`, "sh", `it's "$quoted"`},
				Dir:    "/data",
				Env:    []string{`VALUE=a 'b' $c`},
				CPUs:   2,
				Output: &live,
			})
			if err != nil {
				t.Fatalf("%v\n%s", err, res.Console)
			}
			active := "0"
			if s.bpf {
				active = "1"
			}
			want := strings.Join([]string{
				"/data", `a 'b' $c`, `arg it's "$quoted"`, "made", "odd", "same", "65536", "644",
				"taskwatch.word=some", "loopback", "2", active, ""}, "\n")
			release, rest, _ := strings.Cut(string(res.Output), "\n")
			if !strings.HasPrefix(release, s.name+".") {
				t.Errorf("uname says %q, want a kernel %s", release, s.name)
			}
			if rest != want {
				t.Errorf("the command printed\n%q\nwant\n%q", rest, want)
			}
			if (res.ExitCode == 0) != s.bpf { // the last command's
				t.Errorf("exit code %d", res.ExitCode)
			}
			if !bytes.HasPrefix(live.Bytes(), res.Output) {
				t.Errorf("Config.Output got %q, Result.Output is %q", live.Bytes(), res.Output)
			}
		})
	}
}

func TestCommandFails(t *testing.T) {
	for _, tt := range []struct {
		name string
		cmd  []string
		want int
		out  string
	}{
		{"killed", []string{"sh", "-c", "echo out; kill -9 $$"}, 128 + 9, "out\nKilled\n"}, // as init's shell says
		{"status", []string{"sh", "-c", "echo out; exit 42"}, 42, "out\n"},
		{"not found", []string{"sh", "-c", "echo out; exec /no/such/program 2>/dev/null"}, 127, "out\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			testutil.Nightly(t) // each boots a machine
			res, err := run(t, vm.Config{Kernel: kernel(t, "6.1"), Cmd: tt.cmd})
			if err != nil {
				t.Fatalf("%v\n%s", err, res.Console)
			}
			if res.ExitCode != tt.want || string(res.Output) != tt.out {
				t.Errorf("exit code %d with output %q, want %d", res.ExitCode, res.Output, tt.want)
			}
		})
	}
}

func TestKernelPanics(t *testing.T) {
	res, err := run(t, vm.Config{
		Kernel: kernel(t, "6.12"),
		Cmd:    []string{"sh", "-c", "echo before; echo c > /proc/sysrq-trigger; sleep 1000"},
	})
	var crash *vm.CrashError
	if !errors.As(err, &crash) {
		t.Fatalf("error is %v, want a CrashError\n%s", err, res.Console)
	}
	if !strings.Contains(crash.Message, "sysrq triggered crash") {
		t.Errorf("the crash is %q", crash.Message)
	}
	if string(res.Output) != "before\n" {
		t.Errorf("output before the crash is %q", res.Output)
	}
}

func TestGuestEndsWithoutStatus(t *testing.T) {
	testutil.Nightly(t)
	res, err := run(t, vm.Config{Kernel: kernel(t, "6.1"), Cmd: []string{"poweroff", "-f"}})
	if !errors.Is(err, vm.ErrNoStatus) {
		t.Fatalf("error is %v, want ErrNoStatus\n%s", err, res.Console)
	}
}

func TestGuestHangs(t *testing.T) {
	testutil.Nightly(t) // by day vmtest has one that hangs
	k := kernel(t, "6.12")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	stop := errors.New("the guest is up and hangs")
	var live bytes.Buffer
	res, err := vm.Run(ctx, vm.Config{
		Kernel: k,
		Cmd:    []string{"sh", "-c", "echo up; sleep 100000"},
		Output: writerFunc(func(b []byte) (int, error) {
			live.Write(b)
			if live.String() == "up\n" {
				cancel(stop)
			}
			return len(b), nil
		}),
	})
	skipMissing(t, err)
	if !errors.Is(err, stop) {
		t.Fatalf("error is %v, want the cause of the context's end\n%s", err, res.Console)
	}
	if string(res.Output) != "up\n" {
		t.Errorf("output is %q", res.Output)
	}

	_, err = vm.Run(t.Context(), vm.Config{
		Kernel: k, Cmd: []string{"sleep", "100000"}, Timeout: time.Second,
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error is %v, want a timeout", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestMissingPrograms(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("TASKWATCH_VM_CACHE", t.TempDir())
	_, err := vm.FindKernel(t.Context(), vm.HostArch, "6.1")
	if err == nil || !strings.Contains(err.Error(), "Debian package apt") {
		t.Errorf("without apt: %v", err)
	}
	_, err = vm.Run(t.Context(), vm.Config{Cmd: []string{"true"}})
	if err == nil || !strings.Contains(err.Error(), "Debian package qemu-system-x86") {
		t.Errorf("without QEMU: %v", err)
	}
}

func TestBadConfig(t *testing.T) {
	// As many other machines run as may: a mistake is not told only behind them.
	dir := t.TempDir()
	t.Setenv("TASKWATCH_VM_CACHE", dir)
	for i := range vm.MaxBoots {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("slot%d.lock", i)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := vm.Run(ctx, vm.Config{Cmd: []string{"true"}}); err == nil || !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "Debian package qemu") {
		t.Fatalf("no other machine is waited for: %v", err)
	}
	if _, err := vm.Run(ctx, vm.Config{}); err == nil || !strings.Contains(err.Error(), "no command") {
		t.Errorf("a configuration without a command: %v", err)
	}
	for _, bad := range []string{"", "6", "6.1; reboot", "v6.1", "6.1.2", "6.1-", "6.1-rt-amd64", "6.1-../x"} {
		if _, err := vm.FindKernel(t.Context(), vm.HostArch, bad); err == nil || !strings.Contains(err.Error(), "series") {
			t.Errorf("series %q: %v", bad, err)
		}
	}
}

func TestUnknownProcessor(t *testing.T) {
	if _, err := vm.FindKernel(t.Context(), "m68k", "6.1"); err == nil || !strings.Contains(err.Error(), `"m68k"`) {
		t.Errorf("a kernel for m68k: %v", err)
	}
	if _, err := vm.Run(t.Context(), vm.Config{Kernel: vm.Kernel{Arch: "m68k"}, Cmd: []string{"true"}}); err == nil || !strings.Contains(err.Error(), `"m68k"`) {
		t.Errorf("a machine with an m68k: %v", err)
	}
}

// TestOtherProcessor boots an arm64 kernel, with programs out of Debian's
// packages beside busybox. (.ci/run boots one, too.)
func TestOtherProcessor(t *testing.T) {
	testutil.Nightly(t)
	k, err := vm.FindKernel(t.Context(), vm.ARM64, "6.12")
	skipMissing(t, err)
	if err != nil {
		t.Fatal(err)
	}
	files, err := vm.Packages(t.Context(), vm.ARM64, []string{"coreutils"})
	if err != nil {
		t.Fatal(err)
	}
	res, err := run(t, vm.Config{
		Kernel: k, Files: files, CPUs: 2,
		Cmd: []string{"sh", "-c", "uname -m; uname -r; nproc; /bin/true --version | head -n 1"},
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, res.Console)
	}
	lines := strings.Split(strings.TrimSpace(string(res.Output)), "\n")
	if len(lines) != 4 || lines[0] != "aarch64" || !strings.HasPrefix(lines[1], "6.12.") || lines[2] != "2" || !strings.HasPrefix(lines[3], "true (GNU coreutils)") {
		t.Errorf("the guest says %q", lines)
	}
}

func TestUnknownSeries(t *testing.T) {
	t.Setenv("TASKWATCH_VM_CACHE", t.TempDir())
	_, err := vm.FindKernel(t.Context(), vm.HostArch, "1.0")
	if !errors.Is(err, vm.ErrUnknownKernel) {
		skipMissing(t, err)
	}
	if err == nil || !strings.Contains(err.Error(), "apt-get update") {
		t.Errorf("a series that no suite has: %v", err)
	}
}

// Machines that run together reach the host, and are there at the same time.
func TestTogetherWithNetwork(t *testing.T) {
	testutil.Nightly(t) // as are those who need it, the fleet's
	t.Parallel()
	var cfgs []vm.Config
	for _, s := range series {
		cfgs = append(cfgs, vm.Config{Kernel: kernel(t, s.name), Network: true})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for i := range cfgs {
		cfgs[i].Cmd = []string{"nc", "10.0.2.2", port}
	}
	var served sync.WaitGroup
	served.Go(func() {
		var conns []net.Conn
		for range cfgs {
			c, err := l.Accept()
			if err != nil {
				break
			}
			conns = append(conns, c)
		}
		for _, c := range conns {
			fmt.Fprintf(c, "%d are here\n", len(conns))
			_ = c.Close()
		}
	})
	results, err := vm.RunTogether(t.Context(), cfgs)
	_ = l.Close()
	served.Wait()
	skipMissing(t, err)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if got := string(r.Output); got != "2 are here\n" || r.ExitCode != 0 {
			t.Errorf("%s ends with %d: %q\n%s", series[i].name, r.ExitCode, got, r.Console)
		}
	}
}
