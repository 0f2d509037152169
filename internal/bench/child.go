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
	"github.com/taskwatch/taskwatch/internal/sys"
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
	Seen tally
	Lost uint64 // as the source told
	// Latency is how long events took to the watcher, in nanoseconds: see
	// latencies.
	Latency *latencies `json:",omitempty"`
}

const readyLine = "ready\n"

// Child is a watcher of taskwatch's own, in a process of its own. args say how
// to watch, and what, and may name a file for a profile; they come behind those
// of [Config.Self]. It writes that it is ready to out, watches until the end of
// in, and writes what it has seen. It needs what the source bpf needs.
func Child(args []string, in io.Reader, out io.Writer) (err error) {
	if len(args) < 2 {
		return fmt.Errorf("bench: %d arguments of a watcher, want how it watches, the tag of the loads and, if there is to be one, the file of a profile", len(args))
	}
	mode, arg, _ := strings.Cut(args[0], "=")
	switch mode {
	case supervising:
		return supervise(arg, args[2:])
	case sandboxed:
		return superviseWith(arg, args[2:])
	}
	if len(args) == 3 {
		stop, err2 := profiled(args[2])
		if err2 != nil {
			return err2
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
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
	report, err := watch(order{arg: arg, tag: tag(args[1]), self: os.Args[1:max(1, len(os.Args)-len(args))], ready: ready, stop: stop})
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(report)
}

// order is what a watcher is to do: to watch what has the tag, as arg says; to
// call ready once it watches, and to return after stop was closed.
type order struct {
	arg   string
	tag   tag
	self  []string // the arguments of this program that come before those of Child
	ready func()
	stop  <-chan struct{}
}

// number returns arg, as how many modules there are to be.
func (o *order) number() (int, error) {
	n, err := strconv.Atoi(o.arg)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("bench: %q is no number of modules", o.arg)
	}
	return n, nil
}

func (o *order) params() map[string]string { return map[string]string{"tag": string(o.tag)} }

// modes are the ways to watch.
var modes = map[string]func(order) (*childReport, error){
	"kernel": inKernel,
	"go":     toGo,
	"timed":  toGoTimed,
	"json":   toJSON,
	"wasm":   toSandbox,
	"none":   toNobody,
	"stock":  withModules,

	"connector": fromConnector,
	"streams":   toStreams,
	"read":      readStreams,
}

// toNobody watches nothing.
func toNobody(o order) (*childReport, error) {
	o.ready()
	if o.arg == "spin" {
		var over atomic.Bool
		go func() {
			<-o.stop
			over.Store(true)
		}()
		for !over.Load() { // keeps the processor busy
		}
	}
	<-o.stop
	return &childReport{}, nil
}

// inKernel has modules in the kernel count; nothing comes to user space.
func inKernel(o order) (_ *childReport, err error) {
	n, err := o.number()
	if err != nil {
		return nil, err
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
		m, err := object.Load(kernel.LoadOptions{Params: o.params()})
		if err != nil {
			return nil, err
		}
		modules = append(modules, m)
		if err := table.Register(m, kernel.RegisterOptions{}); err != nil {
			return nil, err
		}
	}
	o.ready()
	<-o.stop
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

// toSandbox has modules in the sandbox count all events.
func toSandbox(o order) (_ *childReport, err error) {
	n, err := o.number()
	if err != nil {
		return nil, err
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
		m, err := object.Load(wasm.LoadOptions{Params: o.params()})
		if err != nil {
			return nil, err
		}
		modules = append(modules, m)
		if err := reg.Register(m.Watchers(0)); err != nil {
			return nil, err
		}
	}
	if err := o.source(&reg, bpf.DefaultLatency.String()); err != nil {
		return nil, err
	}
	for end := time.Now().Add(startTimeout); modules[0].Stats().Queued > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	report, err := counted(modules[0].Globals(context.Background()))
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
	tag    tag
	report childReport
	lost   atomic.Uint64
}

func (c *counter) watch(ev *taskwatch.Event) error {
	if load, ok := c.tag.load(ev.Task.Comm); ok {
		c.report.Seen[load][ev.Kind]++
	}
	return nil
}

func (c *counter) timed(ev *taskwatch.Event) error {
	c.report.Latency.add(sys.Monotonic() - ev.MonoNS)
	return c.watch(ev)
}

func toGo(o order) (*childReport, error) {
	c := &counter{tag: o.tag}
	return c.run(c.watch, &o)
}

func toGoTimed(o order) (*childReport, error) {
	c := &counter{tag: o.tag, report: childReport{Latency: &latencies{}}}
	return c.run(c.timed, &o)
}

// run watches with fn, which is all that this process is for and so compiled in.
func (c *counter) run(fn taskwatch.Watcher, o *order) (*childReport, error) {
	for _, k := range taskwatch.AllKinds.List() {
		taskwatch.Builtin(k, fn, taskwatch.Observe())
	}
	var reg taskwatch.Registry
	losses := taskwatch.NewSink(nil, func(it taskwatch.Item) {
		if it.Loss != nil {
			c.lost.Add(it.Loss.Count)
		}
	})
	if err := reg.Attach(losses); err != nil {
		return nil, err
	}
	if err := o.source(&reg, o.arg); err != nil {
		return nil, err
	}
	c.report.Lost = c.lost.Load()
	return &c.report, nil
}

// source runs the source bpf with the given latency until stop.
func (o *order) source(reg *taskwatch.Registry, latency string) error {
	d, err := time.ParseDuration(latency)
	if err != nil {
		return fmt.Errorf("bench: the latency: %w", err)
	}
	if d == 0 {
		d = bpf.EveryEvent
	}
	src, err := bpf.New(bpf.Config{Latency: d, OnReady: o.ready})
	if err != nil {
		return err
	}
	ctx, cancel := o.context()
	defer cancel()
	return src.Run(ctx, reg)
}

// context returns a context that ends after stop was closed, when what happened before
// has come.
func (o *order) context() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-o.stop
		time.Sleep(freeWait)
		cancel()
	}()
	return ctx, cancel
}

// toJSON writes a recording to a file.
func toJSON(o order) (*childReport, error) {
	return recorded(o.arg, func(reg *taskwatch.Registry) error { return o.source(reg, bpf.DefaultLatency.String()) })
}

// recorded has all that a source delivers written to a file.
func recorded(name string, run func(*taskwatch.Registry) error) (_ *childReport, err error) {
	file, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	w := taskwatch.NewQueue(record.NewWriter(file, taskwatch.WantAll(taskwatch.AllKinds)), taskwatch.QueueOptions{Block: true})
	var reg taskwatch.Registry
	if err := reg.Attach(w); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	defer func() { err = errors.Join(err, reg.Detach(context.Background(), w), file.Close()) }()
	return &childReport{}, run(&reg)
}
