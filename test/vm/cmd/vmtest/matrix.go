package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/taskwatch/taskwatch/test/vm"
)

// boot is one machine of the matrix.
type boot struct {
	kernel  vm.Kernel
	variant variant
	preempt string // "" is the kernel's own model
	params  string // more kernel parameters
}

func (b boot) String() string {
	arch := ""
	if b.kernel.Arch != vm.HostArch {
		arch = string(b.kernel.Arch) + " "
	}
	preempt := ""
	if b.preempt != "" {
		preempt = " preempt=" + b.preempt
	}
	params := ""
	if b.params != "" {
		params = " " + b.params
	}
	return fmt.Sprintf("%skernel %s lsm=%s%s%s (%s)", arch, b.kernel.Series, b.variant.name, preempt, params, b.kernel)
}

// cmdline returns the kernel parameters that make the machine this one.
func (b boot) cmdline() string {
	line := b.variant.cmdline
	if b.preempt != "" {
		line += " preempt=" + b.preempt
	}
	return strings.TrimSpace(line + " " + b.params)
}

// execute boots the matrix and prints what came of it. It reports whether all
// is well.
func (o *options) execute(ctx context.Context, stdout io.Writer) (bool, error) {
	var boots []boot
	for _, series := range o.series {
		k, err := vm.FindKernel(ctx, o.arch, series)
		if err != nil {
			return false, err
		}
		for _, v := range o.variants {
			for _, p := range o.preempt {
				boots = append(boots, boot{k, v, p, o.params})
			}
		}
	}
	if o.list {
		for _, b := range boots {
			fmt.Fprintf(stdout, "%v %s\n", b, b.kernel.Image)
		}
		return true, nil
	}
	tmp, err := os.MkdirTemp("", "vmtest-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(tmp)
	s, err := build(ctx, o.arch, o.packages, tmp)
	if err != nil {
		return false, err
	}
	if err := s.addCommands(ctx, o.commands, tmp); err != nil {
		return false, err
	}
	if len(o.with) > 0 {
		files, err := vm.Packages(ctx, o.arch, o.with)
		if err != nil {
			return false, err
		}
		s.files = append(files, s.files...) // our gcc goes before any other
	}
	for _, pkg := range s.without {
		fmt.Fprintf(stdout, "no test files in %s\n", pkg)
	}
	var live io.Writer
	if o.verbose && len(boots) == 1 {
		live = stdout
	}
	reports := make([]*report, len(boots))
	var running sync.WaitGroup
	var printing sync.Mutex // one machine's results at a time
	for i, b := range boots {
		running.Go(func() {
			reports[i] = o.boot(ctx, b, s, live)
			printing.Lock()
			defer printing.Unlock()
			reports[i].print(stdout, o.verbose && live == nil)
		})
	}
	running.Wait()
	if o.results != "" {
		var list []vm.MachineResult
		for _, r := range reports {
			list = append(list, r.result())
		}
		if err := vm.AppendResults(o.results, list); err != nil {
			return false, err
		}
	}
	return summarize(stdout, reports), nil
}

// boot runs the suite in one machine.
func (o *options) boot(ctx context.Context, b boot, s *suite, live io.Writer) *report {
	res, err := vm.Run(ctx, vm.Config{
		Kernel:  b.kernel,
		Cmdline: b.cmdline(),
		Setup:   o.setup,
		Files:   append(append([]vm.File{}, s.files...), append(o.files, vm.File{Guest: "/.vm/tests", Data: o.script(s)})...),
		Cmd:     []string{"sh", "/.vm/tests"},
		Env:     append([]string{"TASKWATCH_VM=" + b.kernel.Series, "TASKWATCH_VM_LSM=" + b.variant.name, "TASKWATCH_VM_PREEMPT=" + b.preempt, "TASKWATCH_DIAGNOSIS=" + diagnosisFile}, o.env...),
		MemMiB:  o.memMiB, CPUs: o.cpus, Timeout: o.timeout,
		Output: live,
	})
	r := &report{boot: b, err: err, elapsed: res.Elapsed, warnings: res.Warnings, console: res.Console}
	parseErr := r.parse(ctx, res.Output, s)
	r.err = errors.Join(r.err, parseErr)
	r.diagnosis = diagnosisIn(res.Output)
	return r
}

// The lines that stand around the output of each test binary, and before what
// doctor found.
const (
	beginMark     = "@@vmtest begin "
	endMark       = "@@vmtest end "
	diagnosisMark = "@@vmtest diagnosis "
)

// diagnosisFile is where the test of doctor writes what it has found.
const diagnosisFile = "/tmp/diagnosis"

// script returns the guest's shell script that runs all test binaries.
func (o *options) script(s *suite) []byte {
	// A binary that hangs shall say where, before the machine is killed.
	limit := max(o.timeout-o.timeout/10-20*time.Second, o.timeout/2)
	var b strings.Builder
	for _, bin := range s.binaries {
		fmt.Fprintf(&b, "echo '%s%s'\ncd '%s'\n'./%s' -test.v=test2json -test.paniconexit0 -test.timeout=%v",
			beginMark, bin.pkg, bin.dir, path.Base(bin.path), limit)
		for _, arg := range o.testArgs {
			fmt.Fprintf(&b, " '%s'", strings.ReplaceAll(arg, "'", `'\''`))
		}
		fmt.Fprintf(&b, "\nstatus=$?; echo; echo \"%s$status\"\n", endMark)
	}
	fmt.Fprintf(&b, "if [ -e %s ]; then printf '%%s\\n' \"%s$(cat %[1]s)\"; fi\n", diagnosisFile, diagnosisMark)
	return []byte(b.String())
}
