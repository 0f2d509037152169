// Command vmtest runs Go test binaries inside Debian kernels booted in QEMU.
//
//	go run ./test/vm/cmd/vmtest [flags] PACKAGE... [-- TEST FLAGS]
//
// It builds the test binary of every package, boots every kernel with every
// list of security modules, runs all the binaries as root in each guest, and
// ends with a status other than 0 if a test failed, a kernel crashed, a guest
// hung, or some guest ran no test at all.
//
// In the guest the module's root is /src, and a test runs in its package's
// directory with that package's testdata. There is no compiler: the C files
// in testdata directories are built beforehand as static programs, and the
// guest's gcc hands those out. TASKWATCH_VM holds the kernel series,
// TASKWATCH_VM_LSM the name of the -lsm variant and TASKWATCH_VM_PREEMPT that
// of the model of preemption, for tests that know what must work there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/taskwatch/taskwatch/test/vm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// options are the parsed command line.
type options struct {
	arch     vm.Arch
	series   []string
	variants []variant
	preempt  []string
	with     []string
	commands [][2]string // path in the guest, package
	params   string      // kernel parameters
	setup    string      // shell commands
	results  string      // a file
	packages []string
	testArgs []string
	files    []vm.File
	env      []string
	timeout  time.Duration
	memMiB   int
	cpus     int
	verbose  bool
	list     bool
}

// variant is one way to boot a kernel.
type variant struct {
	name    string
	cmdline string
}

var variants = []variant{
	{"bpf", vm.CmdlineBPF},
	{"none", vm.CmdlineNoBPF},
}

// errUsage says that flag has already told the user.
var errUsage = errors.New("usage")

func parse(args []string, stderr io.Writer) (*options, error) {
	o := options{arch: vm.HostArch}
	if i := slices.Index(args, "--"); i >= 0 {
		o.testArgs = testFlags(args[i+1:])
		args = args[:i]
	}
	fs := flag.NewFlagSet("vmtest", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprintln(stderr, "usage: vmtest [flags] PACKAGE... [-- TEST FLAGS]")
		fs.PrintDefaults()
	}
	kernels := fs.String("kernel", "6.1,6.12", "`series` of Debian kernels to boot, with a flavour as in 6.12-rt if not the cloud kernel")
	lsm := fs.String("lsm", "bpf,none", "`variants` of the lsm= parameter: bpf, none (bpf left out)")
	fs.Func("arch", "`processor` of the machines: amd64 or arm64 (default the host's)", func(s string) (err error) {
		o.arch, err = vm.ParseArch(s)
		return err
	})
	preempt := fs.String("preempt", "", "`models` of preemption to boot with: full, voluntary, none (default the kernel's own)")
	with := fs.String("with", "", "Debian `packages` whose programs the guest gets, besides busybox")
	fs.BoolVar(&o.list, "list", false, "list what would be booted, and boot nothing")
	fs.BoolVar(&o.verbose, "v", false, "print the output of all tests, as it comes when one machine is booted")
	fs.DurationVar(&o.timeout, "timeout", 10*time.Minute, "`time` a machine may take")
	fs.IntVar(&o.memMiB, "mem", 1024, "memory of a machine in `MiB`")
	fs.IntVar(&o.cpus, "cpus", 2, "processors of a machine")
	fs.Func("file", "copy a host file or directory into the guest: `GUEST=HOST` (repeatable)", o.addFile)
	fs.Func("command", "build a command and put it into the guest: `GUEST=PACKAGE` (repeatable)", func(s string) error {
		guest, pkg, ok := strings.Cut(s, "=")
		if !ok || !strings.HasPrefix(guest, "/") || pkg == "" {
			return errors.New("want GUEST=PACKAGE, GUEST an absolute path")
		}
		o.commands = append(o.commands, [2]string{guest, pkg})
		return nil
	})
	fs.StringVar(&o.params, "append", "", "kernel `parameters` besides those of the variant")
	fs.StringVar(&o.results, "results", "", "`file` to which the result of each machine is added, a line of JSON each, with what doctor found if it was tested")
	fs.StringVar(&o.setup, "setup", "", "shell `commands` that the guest runs before the tests, as root")
	fs.Func("env", "environment of the tests: `NAME=VALUE` (repeatable)", func(s string) error {
		if name, _, ok := strings.Cut(s, "="); !ok || name == "" {
			return errors.New("want NAME=VALUE")
		}
		o.env = append(o.env, s)
		return nil
	})
	if err := fs.Parse(args); err != nil {
		return nil, errors.Join(errUsage, err)
	}
	o.series = strings.Split(*kernels, ",")
	for name := range strings.SplitSeq(*lsm, ",") {
		i := slices.IndexFunc(variants, func(v variant) bool { return v.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-lsm: unknown variant %q: want bpf or none", name)
		}
		o.variants = append(o.variants, variants[i])
	}
	for name := range strings.SplitSeq(*preempt, ",") {
		if !slices.Contains([]string{"", "full", "voluntary", "none"}, name) {
			return nil, fmt.Errorf("-preempt: unknown model %q: want full, voluntary or none", name)
		}
		o.preempt = append(o.preempt, name)
	}
	o.with = strings.FieldsFunc(*with, func(r rune) bool { return r == ',' })
	o.packages = fs.Args()
	if len(o.packages) == 0 && !o.list {
		return nil, errors.New("no package to test; see vmtest -h")
	}
	return &o, nil
}

func (o *options) addFile(s string) error {
	guest, host, ok := strings.Cut(s, "=")
	if !ok || guest == "" || host == "" {
		return errors.New("want GUEST=HOST")
	}
	st, err := os.Stat(host)
	if err != nil {
		return err
	}
	if !st.IsDir() {
		o.files = append(o.files, vm.File{Guest: guest, Host: host})
		return nil
	}
	tree, err := vm.Tree(host, guest)
	o.files = append(o.files, tree...)
	return err
}

// testFlags turns flags as go test takes them into those of a test binary.
func testFlags(args []string) []string {
	var list []string
	for _, arg := range args {
		name := strings.TrimLeft(arg, "-")
		word, _, _ := strings.Cut(name, "=")
		if name != arg && slices.Contains(goTestFlags, word) {
			arg = "-test." + name
		}
		list = append(list, arg)
	}
	return list
}

// goTestFlags are the flags of go test that test binaries know under a name
// with a prefix.
var goTestFlags = []string{
	"bench", "benchmem", "benchtime", "count", "cpu", "failfast", "list", "parallel", "run", "short", "shuffle", "skip", "timeout",
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if errors.Is(err, errUsage) {
		return 2
	}
	if err != nil {
		fmt.Fprintln(stderr, "vmtest:", err)
		return 2
	}
	ok, err := o.execute(ctx, stdout)
	if err != nil {
		fmt.Fprintln(stderr, "vmtest:", err)
		return 1
	}
	if !ok {
		return 1
	}
	return 0
}
