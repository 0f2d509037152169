package vm

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Config says what to boot and what to run in it.
type Config struct {
	Kernel  Kernel
	Cmdline string // kernel parameters, added to those the harness needs

	Files []File   // besides busybox
	Setup string   // shell commands that init runs before Cmd, as root; their status is ignored
	Cmd   []string // the command and its arguments; a path is looked up in the guest
	Dir   string   // its working directory; "" is /
	Env   []string // NAME=value, besides PATH and HOME

	// Network gives the guest a network of its own, as 10.0.2.15, where the host's
	// 127.0.0.1 is 10.0.2.2.
	Network bool

	MemMiB  int           // 0 is 1024
	CPUs    int           // 0 is 2
	Timeout time.Duration // from the start of QEMU to its end; 0 is five minutes

	// Output and Console, if set, receive the command's output and the
	// kernel's messages while they come. Each is written to by one goroutine.
	Output  io.Writer
	Console io.Writer
}

// Result is what came out of a guest.
type Result struct {
	ExitCode int    // the command's exit status, 128 and the signal's number when killed
	Output   []byte // the command's stdout and stderr
	Console  []byte // the kernel's messages

	// Warnings are the kernel's messages that ask for attention but end
	// nothing, such as WARNING and stall reports.
	Warnings []string

	Elapsed time.Duration // of the whole boot
}

// CrashError says that the guest's kernel crashed.
type CrashError struct {
	Kernel  Kernel
	Message string // the line of the console that says so
}

func (e *CrashError) Error() string {
	return fmt.Sprintf("vm: the kernel %s crashed: %s", e.Kernel, e.Message)
}

// ErrNoStatus says that the guest ended without having reported the
// command's exit status.
var ErrNoStatus = errors.New("vm: the guest ended without an exit status")

// Run boots the kernel, runs the command and waits for the guest to be gone.
// A command that ends with a status other than 0 is no error of Run: see
// Result.ExitCode. Errors are a missing program on the host, a timeout
// (context.DeadlineExceeded), the end of ctx, a *[CrashError], or
// [ErrNoStatus]; the result then holds what came until that point.
func Run(ctx context.Context, cfg Config) (Result, error) {
	m, err := newMachine(cfg)
	if err != nil {
		return Result{}, err
	}
	slot, err := takeSlot(ctx)
	if err != nil {
		return Result{}, err
	}
	defer slot.Close()
	return m.boot(ctx)
}

// RunTogether runs machines at the same time, as Run does each, and returns when
// all have ended. They count as one for [MaxBoots].
func RunTogether(ctx context.Context, cfgs []Config) ([]Result, error) {
	machines := make([]*machine, len(cfgs))
	for i, cfg := range cfgs {
		var err error
		if machines[i], err = newMachine(cfg); err != nil {
			return nil, err
		}
	}
	slot, err := takeSlot(ctx)
	if err != nil {
		return nil, err
	}
	defer slot.Close()
	results, errs := make([]Result, len(cfgs)), make([]error, len(cfgs))
	var running sync.WaitGroup
	for i, m := range machines {
		running.Go(func() { results[i], errs[i] = m.boot(ctx) })
	}
	running.Wait()
	return results, errors.Join(errs...)
}

// newMachine returns a machine that is not running. What is wrong with it is known
// before it waits for others.
func newMachine(cfg Config) (*machine, error) {
	if len(cfg.Cmd) == 0 {
		return nil, errors.New("vm: no command to run")
	}
	if cfg.Kernel.Arch == "" {
		cfg.Kernel.Arch = HostArch
	}
	hw, err := cfg.Kernel.Arch.lookup()
	if err != nil {
		return nil, err
	}
	qemu, err := exec.LookPath(hw.qemu)
	if err != nil {
		return nil, missing(err)
	}
	if cfg.Network && len(cfg.Kernel.Network) == 0 {
		return nil, fmt.Errorf("vm: the cache has no driver of a network for %s; remove the kernel from %s", cfg.Kernel, filepath.Dir(cfg.Kernel.Image))
	}
	return &machine{cfg: &cfg, hw: hw, qemu: qemu, token: newToken()}, nil
}

func (m *machine) boot(ctx context.Context) (Result, error) {
	dir, err := os.MkdirTemp("", "taskwatch-vm-")
	if err != nil {
		return Result{}, fmt.Errorf("vm: %w", err)
	}
	defer os.RemoveAll(dir)
	initrd := filepath.Join(dir, "initramfs")
	if err := writeInitramfs(ctx, initrd, m.cfg, m.hw, m.token); err != nil {
		return Result{}, err
	}
	timeout := m.cfg.Timeout
	if timeout == 0 {
		timeout = 5 * time.Minute
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout,
		fmt.Errorf("vm: no end after %v: %w", timeout, context.DeadlineExceeded))
	defer cancel()
	start := time.Now()
	err = m.run(ctx, initrd)
	return m.result(time.Since(start)), err
}

func newToken() string {
	var b [8]byte
	rand.Read(b[:])
	return "vm-exit-status-" + hex.EncodeToString(b[:])
}

// machine is one QEMU.
type machine struct {
	cfg   *Config
	hw    *hardware
	qemu  string // its path
	token string

	console []byte
	output  []byte
	status  int
	ended   bool // status is valid
}

func (m *machine) run(ctx context.Context, initrd string) error {
	cmd := exec.CommandContext(ctx, m.qemu, m.args(initrd)...)
	cmd.WaitDelay = 5 * time.Second
	// QEMU must not outlive a killed test. The kernel sends the signal when
	// the thread that forked ends, so this goroutine keeps its thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	consoleR, consoleW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("vm: %w", err)
	}
	outputR, outputW, err := os.Pipe()
	if err != nil {
		consoleR.Close()
		consoleW.Close()
		return fmt.Errorf("vm: %w", err)
	}
	cmd.ExtraFiles = []*os.File{consoleW, outputW} // 3 and 4
	err = cmd.Start()
	consoleW.Close()
	outputW.Close()
	var copies sync.WaitGroup
	copies.Go(func() { m.console = collect(consoleR, m.cfg.Console) })
	copies.Go(func() { m.output = collect(outputR, m.cfg.Output) })
	if err == nil {
		err = cmd.Wait()
	}
	copies.Wait()
	m.cutStatus()
	switch crash, crashed := findCrash(m.console); {
	case crashed:
		return &CrashError{m.cfg.Kernel, crash}
	case m.ended && err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("vm: %s: %w: %s", m.qemu, err, strings.TrimSpace(stderr.String()))
	}
	return ErrNoStatus
}

// args returns QEMU's arguments. panic=-1 with -no-reboot makes a crashed
// kernel end QEMU. The two serial ports are the descriptors 3 and 4.
func (m *machine) args(initrd string) []string {
	mem, cpus := m.cfg.MemMiB, m.cfg.CPUs
	if mem == 0 {
		mem = 1024
	}
	if cpus == 0 {
		cpus = 2
	}
	cmdline := "console=" + m.hw.console + " loglevel=5 panic=-1 oops=panic mitigations=off " + m.hw.params + " " + m.cfg.Cmdline
	args := []string{
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		// One host thread for all processors: with a thread each, QEMU 7.2
		// now and then runs stale code while the kernel patches a jump
		// label or a tracepoint, and 6.12 panics ("Oops: int3").
		"-accel", "tcg,thread=single",
		"-smp", strconv.Itoa(cpus), "-m", strconv.Itoa(mem),
		"-kernel", m.cfg.Kernel.Image, "-initrd", initrd, "-append", strings.TrimSpace(cmdline),
		"-chardev", "file,id=console,path=/dev/fd/3", "-serial", "chardev:console",
		"-chardev", "file,id=output,path=/dev/fd/4",
	}
	if m.cfg.Network {
		args = append(args, "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=")
	}
	args = append(args, m.hw.machine...)
	return append(args, m.hw.port...)
}

// cutStatus takes the status line off the output, and what comes after it: the
// system may have a last word there.
func (m *machine) cutStatus() {
	out, rest, ok := strings.Cut(string(m.output), "\n"+m.token+" ")
	if !ok {
		return
	}
	line, _, _ := strings.Cut(rest, "\n")
	status, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		return
	}
	m.output, m.status, m.ended = []byte(out), status, true
}

func (m *machine) result(elapsed time.Duration) Result {
	return Result{
		ExitCode: m.status, Output: m.output, Console: m.console,
		Warnings: findWarnings(m.console), Elapsed: elapsed,
	}
}

// collect reads r to its end, closes it, and returns what came; w, if set,
// gets it as it comes.
func collect(r *os.File, w io.Writer) []byte {
	defer r.Close()
	var all []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		all = append(all, buf[:n]...)
		if w != nil && n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				w = nil // the guest's output is still wanted in the result
			}
		}
		if err != nil {
			return all
		}
	}
}
