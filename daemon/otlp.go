package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/report"
	"github.com/taskwatch/taskwatch/sink/otlp"
)

// OTLP says what is sent to a collector of OpenTelemetry, and how. The zero
// value sends nothing.
type OTLP struct {
	// Logs has events sent as log records: those of the kinds of Events, of
	// which empty stands for exec, uid, gid and exit, that Where is true for.
	Logs   bool
	Events []string
	Where  string // an expression as of --where; "" is true for all

	// Spans has a span sent of each process and each program that has ended.
	Spans bool

	// Settings stand before the variables OTEL_EXPORTER_OTLP_*, by their last
	// words: see [otlp.Read].
	Settings map[string]string
}

// exportEnd is how long the end of an exporter waits for the collector.
const exportEnd = 3 * time.Second

// exporter is what sends one signal: a sink that chooses, with a queue behind
// it, so that the source never waits for the collector.
type exporter struct {
	taskwatch.Sink
	signal otlp.Signal
	queue  *taskwatch.Queue
	counts func() otlp.Counts
}

// WantsFailedExecs returns whether the sink wants them.
func (x *exporter) WantsFailedExecs() bool { return taskwatch.WantsFailedExecs(x.Sink) }

// Only returns which tasks the sink wants.
func (x *exporter) Only() taskwatch.Only { return taskwatch.OnlyOf(x.Sink) }

// lost returns what did not reach the collector, by cause.
func (x *exporter) lost() map[string]uint64 {
	c := x.counts()
	return map[string]uint64{"queue": x.queue.Dropped(), "rejected": c.Rejected, "failed": c.Failed}
}

// exports are the exporters of a daemon.
type exports struct {
	reloads sync.Mutex // one at a time

	mu      sync.Mutex // guards what follows
	current []*exporter
	was     OTLP
	sent    map[otlp.Signal]uint64            // by those that are gone
	lost    map[otlp.Signal]map[string]uint64 // likewise, by cause
}

// newExporters makes what the configuration wants, and starts nothing that
// could not be given up.
func (d *Daemon) newExporters(c *OTLP) (list []*exporter, err error) {
	defer func() {
		if err != nil {
			for _, x := range list {
				_ = x.queue.Close(context.Background()) // it has nothing
			}
			list, err = nil, fmt.Errorf("otlp: %w", err)
		}
	}()
	report := func(signal otlp.Signal) func(error) {
		return func(err error) {
			if err != nil {
				d.log.Error("otlp: nothing is sent", "signal", signal.String(), "error", err)
			} else {
				d.log.Info("otlp: sending works again", "signal", signal.String())
			}
		}
	}
	if c.Logs {
		x, err := d.newLogs(c, report(otlp.Logs))
		if err != nil {
			return list, err
		}
		list = append(list, x)
	}
	if c.Spans {
		cfg, err := c.read(otlp.Traces)
		if err != nil {
			return list, err
		}
		live := otlp.NewLive(cfg, otlp.NewSender(cfg), report(otlp.Traces))
		queue := taskwatch.NewQueue(live, taskwatch.QueueOptions{Size: d.limits.export})
		list = append(list, &exporter{queue, otlp.Traces, queue, live.Counts})
	}
	return list, nil
}

// read reads the settings of a signal. What the daemon has inherited is no
// parent of what the machine does.
func (c *OTLP) read(signal otlp.Signal) (*otlp.Config, error) {
	return otlp.Read(c.Settings, func(name string) string {
		if name == "TRACEPARENT" {
			return ""
		}
		return os.Getenv(name)
	}, signal)
}

// check returns an error if nothing can be sent by that configuration.
func (d *Daemon) checkOTLP(c *OTLP) error {
	if !c.Logs && (len(c.Events) > 0 || c.Where != "") {
		return errors.New("otlp: events and where choose log records, but logs is false")
	}
	var errs []error
	if c.Logs {
		_, err := c.read(otlp.Logs)
		_, wrong := d.chosen(c)
		errs = append(errs, err, wrong)
	}
	if c.Spans {
		_, err := c.read(otlp.Traces)
		errs = append(errs, err)
	}
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("otlp: %w", err)
		}
	}
	return nil
}

// chosen returns a stream that chooses what becomes log records. It is not open.
func (d *Daemon) chosen(c *OTLP) (*stream, error) {
	events := c.Events
	if len(events) == 0 {
		events = usualEvents()
	}
	return newStream(&choice{events: events, where: c.Where})
}

func (d *Daemon) newLogs(c *OTLP, report func(error)) (*exporter, error) {
	cfg, err := c.read(otlp.Logs)
	if err != nil {
		return nil, err
	}
	s, err := d.chosen(c)
	if err != nil {
		return nil, err
	}
	d.adopt(s, true)
	logs := otlp.NewLogs(cfg, s.kinds, otlp.NewSender(cfg), report)
	s.queue = taskwatch.NewQueue(&markedLogs{logs, s.where}, taskwatch.QueueOptions{Size: d.limits.export})
	return &exporter{s, otlp.Logs, s.queue, logs.Counts}, nil
}

func usualEvents() (names []string) {
	for _, k := range report.DefaultKinds.List() {
		names = append(names, k.String())
	}
	return names
}

// markedLogs are logs that say of which items nobody can tell whether they were
// asked for.
type markedLogs struct {
	*otlp.LogSink
	where *question // or nil
}

// Take takes an item.
func (m *markedLogs) Take(it taskwatch.Item) {
	m.TakeMarked(it, m.where != nil && it.Loss == nil && m.where.marks.Take(it))
}

// startExports has what the configuration wants sent, in place of what was sent
// before. If the configuration is no good, that goes on.
func (d *Daemon) startExports(ctx context.Context, c OTLP) error {
	e := &d.exports
	e.reloads.Lock()
	defer e.reloads.Unlock()
	e.mu.Lock()
	same := reflect.DeepEqual(e.was, c)
	e.mu.Unlock()
	if same {
		return nil
	}
	if err := d.checkOTLP(&c); err != nil {
		return err
	}
	list, err := d.newExporters(&c)
	if err != nil {
		return err
	}
	e.mu.Lock()
	old := e.current
	e.mu.Unlock()
	for _, x := range old {
		d.endExport(x)
	}
	for i, x := range list {
		if err := d.startExport(ctx, x); err != nil {
			for _, y := range list[i+1:] {
				_ = y.queue.Close(context.Background())
			}
			return fmt.Errorf("otlp: %s: %w", x.signal, err)
		}
	}
	e.mu.Lock()
	e.was = c
	e.mu.Unlock()
	return nil
}

func (d *Daemon) startExport(ctx context.Context, x *exporter) error {
	if err := d.registry.Attach(x); err != nil {
		return errors.Join(err, x.queue.Close(context.Background()))
	}
	d.exports.mu.Lock()
	d.exports.current = append(d.exports.current, x)
	d.exports.mu.Unlock()
	err := d.refresh(ctx, x.Wants().Kinds(), x.WantsFailedExecs())
	if s, ok := x.Sink.(*stream); ok && err == nil {
		err = s.scan()
	}
	if err != nil {
		d.endExport(x)
		return err
	}
	d.log.Info("otlp: sending", "signal", x.signal.String())
	return nil
}

// endExport sends what waits, for a while, and counts what was lost.
func (d *Daemon) endExport(x *exporter) {
	ctx, cancel := context.WithTimeout(context.Background(), exportEnd)
	defer cancel()
	if err := d.detach(ctx, x); err != nil {
		d.log.Warn("otlp: not everything was sent", "signal", x.signal.String(), "error", err)
	}
	e := &d.exports
	e.mu.Lock()
	defer e.mu.Unlock()
	e.current = slices.DeleteFunc(e.current, func(o *exporter) bool { return o == x })
	if e.sent == nil {
		e.sent, e.lost = map[otlp.Signal]uint64{}, map[otlp.Signal]map[string]uint64{}
	}
	e.sent[x.signal] += x.counts().Sent
	e.lost[x.signal] = sum(e.lost[x.signal], x.lost())
	e.was = OTLP{}
}

// end ends all exports, at once.
func (d *Daemon) endExports() {
	d.exports.mu.Lock()
	list := slices.Clone(d.exports.current)
	d.exports.mu.Unlock()
	var all sync.WaitGroup
	for _, x := range list {
		all.Go(func() { d.endExport(x) })
	}
	all.Wait()
}

// ReloadOTLP has what the configuration wants sent from then on. If it is no
// good, it is as before.
func (d *Daemon) ReloadOTLP(ctx context.Context, c OTLP) error { return d.startExports(ctx, c) }

// exported is what became of one signal.
type exported struct {
	signal  otlp.Signal
	sent    uint64
	lost    map[string]uint64
	waiting int // bytes
}

// counts returns what became of each signal that is or was sent.
func (e *exports) counts() (list []exported) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, signal := range []otlp.Signal{otlp.Traces, otlp.Logs} {
		one := exported{signal: signal, sent: e.sent[signal], lost: maps.Clone(e.lost[signal])}
		for _, x := range e.current {
			if x.signal == signal {
				one.sent += x.counts().Sent
				one.lost = sum(one.lost, x.lost())
				one.waiting += x.queue.Waiting()
			}
		}
		if one.lost != nil {
			list = append(list, one)
		}
	}
	return list
}

func sum(a, b map[string]uint64) map[string]uint64 {
	if a == nil {
		a = map[string]uint64{}
	}
	for k, n := range b {
		a[k] += n
	}
	return a
}
