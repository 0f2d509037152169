package bench

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/module/wasm"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/source/bpf"
)

// What c/count.c is built to, for the kernel and for the sandbox.
var (
	//go:embed count.o
	countObject []byte
	//go:embed count.wasm
	countWasm []byte
)

// childReport is what a child says at its end.
type childReport struct {
	Seen Tally
	Lost uint64 // as the source told
	// Latency is how long events took to the watcher, in nanoseconds: see
	// latencies.
	Latency *latencies `json:",omitempty"`
}

const readyLine = "ready\n"

// Child is a watcher of taskwatch's own, in a process of its own. args, the
// first of which says how to watch, come from a [Config.Self] command line
// behind its last element. It writes that it is ready to out, watches until the
// end of in, and writes what it has seen. It needs what the source bpf needs.
func Child(args []string, in io.Reader, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("bench: the watcher has no name")
	}
	mode, arg, _ := strings.Cut(args[0], "=")
	watch, ok := modes[mode]
	if !ok {
		return fmt.Errorf("bench: unknown watcher %q", mode)
	}
	stop := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, in) // its end is all that matters
		close(stop)
	}()
	ready := func() { _, _ = io.WriteString(out, readyLine) } // who does not hear it kills
	report, err := watch(arg, ready, stop)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(report)
}

// modes are the ways to watch. Each calls ready once it watches, and returns
// after stop was closed.
var modes = map[string]func(arg string, ready func(), stop <-chan struct{}) (*childReport, error){
	"kernel": inKernel,
	"go":     toGo,
	"timed":  toGoTimed,
	"json":   toJSON,
	"wasm":   toSandbox,
}

// inKernel has arg modules in the kernel count; nothing comes to user space.
func inKernel(arg string, ready func(), stop <-chan struct{}) (_ *childReport, err error) {
	n, err := strconv.Atoi(arg)
	if err != nil {
		return nil, fmt.Errorf("bench: how many modules: %w", err)
	}
	table, err := kernel.NewTable(kernel.Config{})
	if err != nil {
		return nil, err
	}
	var modules []*kernel.Module
	defer func() {
		err = errors.Join(err, table.Close())
		for _, m := range modules {
			err = errors.Join(err, m.Close())
		}
	}()
	for i := range n {
		object, err := kernel.Parse("count"+strconv.Itoa(i), countObject)
		if err != nil {
			return nil, err
		}
		m, err := object.Load(kernel.LoadOptions{})
		if err != nil {
			return nil, err
		}
		modules = append(modules, m)
		if err := table.Register(m, kernel.RegisterOptions{}); err != nil {
			return nil, err
		}
	}
	ready()
	<-stop
	time.Sleep(freeWait)
	return counted(modules[0].Globals())
}

// counted reads what c/count.c has counted.
func counted(globals []module.Global, err error) (*childReport, error) {
	if err != nil {
		return nil, err
	}
	report := &childReport{}
	for _, g := range globals {
		seen, _ := g.Value.([]any)
		for i, v := range seen {
			report.Seen[i/taskwatch.NumKinds][i%taskwatch.NumKinds], _ = v.(uint64)
		}
	}
	return report, nil
}

// toSandbox has arg modules in the sandbox count all events.
func toSandbox(arg string, ready func(), stop <-chan struct{}) (_ *childReport, err error) {
	n, err := strconv.Atoi(arg)
	if err != nil {
		return nil, fmt.Errorf("bench: how many modules: %w", err)
	}
	var reg taskwatch.Registry
	var modules []*wasm.Module
	var objects []*wasm.Object
	defer func() {
		for _, m := range modules {
			err = errors.Join(err, m.Close())
		}
		for _, o := range objects {
			err = errors.Join(err, o.Close())
		}
	}()
	for i := range n {
		object, err := wasm.Parse("count"+strconv.Itoa(i), countWasm)
		if err != nil {
			return nil, err
		}
		objects = append(objects, object)
		m, err := object.Load(wasm.LoadOptions{})
		if err != nil {
			return nil, err
		}
		modules = append(modules, m)
		if err := reg.Register(m.Watchers(0)); err != nil {
			return nil, err
		}
	}
	if err := source(&reg, bpf.DefaultLatency.String(), ready, stop); err != nil {
		return nil, err
	}
	for end := time.Now().Add(startTimeout); modules[0].Stats().Queued > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	report, err := counted(modules[0].Globals())
	if err == nil {
		for _, m := range modules {
			report.Lost += m.Stats().Drops
		}
	}
	return report, err
}

// freeWait is how long frees may take: the kernel's own a grace period, those
// that the source infers half a second.
const freeWait = 800 * time.Millisecond

// counter is a watcher of everything, in Go.
type counter struct {
	report childReport
	lost   atomic.Uint64
}

func (c *counter) watch(ev *taskwatch.Event) error {
	if load, ok := loadOf(ev.Task.Comm); ok {
		c.report.Seen[load][ev.Kind]++
	}
	return nil
}

func (c *counter) timed(ev *taskwatch.Event) error {
	c.report.Latency.add(monotonic() - ev.MonoNS)
	return c.watch(ev)
}

func (c *counter) module(fn taskwatch.Watcher) *taskwatch.Module {
	m := &taskwatch.Module{Name: "bench", Observer: true, OnLost: func(l taskwatch.Loss) { c.lost.Add(l.Count) }}
	for k := range m.Table {
		m.Table[k] = []taskwatch.Watcher{fn}
	}
	return m
}

func toGo(arg string, ready func(), stop <-chan struct{}) (*childReport, error) {
	c := &counter{}
	return c.run(c.watch, arg, ready, stop)
}

func toGoTimed(arg string, ready func(), stop <-chan struct{}) (*childReport, error) {
	c := &counter{report: childReport{Latency: &latencies{}}}
	return c.run(c.timed, arg, ready, stop)
}

func (c *counter) run(fn taskwatch.Watcher, arg string, ready func(), stop <-chan struct{}) (*childReport, error) {
	var reg taskwatch.Registry
	if err := reg.Register(c.module(fn)); err != nil {
		return nil, err
	}
	if err := source(&reg, arg, ready, stop); err != nil {
		return nil, err
	}
	c.report.Lost = c.lost.Load()
	return &c.report, nil
}

// source runs the source bpf with the given latency until stop.
func source(reg *taskwatch.Registry, latency string, ready func(), stop <-chan struct{}) error {
	d, err := time.ParseDuration(latency)
	if err != nil {
		return fmt.Errorf("bench: the latency: %w", err)
	}
	src, err := bpf.New(bpf.Config{Latency: d, OnReady: ready})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-stop
		time.Sleep(freeWait)
		cancel()
	}()
	return src.Run(ctx, reg)
}

// toJSON writes a recording to the file arg.
func toJSON(arg string, ready func(), stop <-chan struct{}) (_ *childReport, err error) {
	file, err := os.Create(arg)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	w := record.NewWriter(file)
	defer func() { err = errors.Join(err, w.Close(), file.Close()) }()
	var reg taskwatch.Registry
	if err := reg.Register(w.Module("json", taskwatch.AllKinds, record.ModuleOptions{})); err != nil {
		return nil, err
	}
	return &childReport{}, source(&reg, bpf.DefaultLatency.String(), ready, stop)
}
