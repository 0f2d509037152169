package otlp

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/process"
)

const (
	schemaURL = "https://opentelemetry.io/schemas/1.37.0"
	scopeName = "github.com/taskwatch/taskwatch"
	maxEvents = 128 // of one span
)

// spans are those of one process.
type spans struct {
	parent   *spans
	trace    *trace
	process  *tracepb.Span
	programs []*tracepb.Span
	ran      bool // a program, so far
	ended    bool
	failed   bool
	keep     bool
}

// trace is one of several, of [Live].
type trace struct {
	id    []byte
	spans int // of processes
}

func (p *spans) count() int { return 1 + len(p.programs) }

func newSpan(name string, trace, parent []byte) *tracepb.Span {
	return &tracepb.Span{
		TraceId: trace, SpanId: random(8), ParentSpanId: parent, Name: valid(name),
		Kind: tracepb.Span_SPAN_KIND_INTERNAL, Flags: 1,
	}
}

func random(n int) []byte {
	id := make([]byte, n)
	_, _ = rand.Read(id)
	return id
}

// attemptOf describes the attempt of a failed exec.
func attemptOf(f *taskwatch.FailedExec) []*commonpb.KeyValue {
	attributes := []*commonpb.KeyValue{str("error.type", errnoName(f.Errno))}
	if !f.NoPath {
		attributes = append(attributes, str("process.executable.path", f.Path))
	}
	if f.ByFD {
		attributes = append(attributes, num("taskwatch.fd", int64(f.FD)))
	}
	if !f.NoArgv {
		attributes = append(attributes, list("process.command_args", f.Argv))
		if f.ArgvCut {
			attributes = append(attributes, flag("taskwatch.argv_cut", true))
		}
	}
	return attributes
}

func errnoName(errno syscall.Errno) string {
	if name := unix.ErrnoName(errno); name != "" {
		return name
	}
	return errno.Error()
}

func (s *Sink) spanOf(t *taskwatch.Task) *tracepb.Span {
	if p := s.live[s.tree.Of(t)]; p != nil {
		return p.process
	}
	return s.root
}

func (s *Sink) add(to *tracepb.Span, mono int64, name string, attributes ...*commonpb.KeyValue) {
	if len(to.Events) == maxEvents {
		to.DroppedEventsCount++
		return
	}
	to.Events = append(to.Events, &tracepb.Span_Event{TimeUnixNano: s.wall(mono), Name: name, Attributes: attributes})
}

func (s *Sink) event(it taskwatch.Item) {
	ev := it.Event
	if !s.begun || s.ready != nil { // in the long run the clocks drift apart
		s.offset = ev.Time.UnixNano() - ev.MonoNS
	}
	if !s.begun {
		s.begun = true
		s.root.StartTimeUnixNano = s.wall(ev.MonoNS)
	}
	s.last = max(s.last, ev.MonoNS)
	step := s.tree.Take(it)
	if step.Lost != nil {
		s.end(step.Lost, ev.MonoNS)
	}
	p := step.Process
	if p == nil {
		return
	}
	sp := s.live[p]
	if sp == nil {
		if ev.Kind == taskwatch.Exit || s.ready != nil && !p.Born {
			return // of a thread, behind that of its process; or it was there before
		}
		sp = s.begin(p, ev)
	}
	switch ev.Kind {
	case taskwatch.Exec:
		s.endProgram(sp, ev.MonoNS)
		if s.ready != nil {
			s.relabel(sp, labelOf(ev))
		}
		s.beginProgram(sp, p, ev)
	case taskwatch.UID:
		s.add(sp.process, ev.MonoNS, "taskwatch.uid", ids(ev, ev.Task.UID)...)
	case taskwatch.GID:
		s.add(sp.process, ev.MonoNS, "taskwatch.gid", ids(ev, ev.Task.GID)...)
	case taskwatch.Exit:
		if p.Ended {
			sp.failed = s.status(sp, ev)
			if g := step.Ended; g != nil {
				sp.process.Attributes = append(sp.process.Attributes, usage(&g.Usage)...)
			}
			s.end(p, ev.MonoNS)
		}
	}
}

func (s *Sink) begin(p *process.Process, ev *taskwatch.Event) *spans {
	sp := &spans{}
	for a := range p.Ancestors() {
		if sp.parent = s.live[a]; sp.parent != nil {
			break
		}
	}
	switch {
	case s.ready != nil:
		s.join(sp, nameOf(p), labelOf(ev))
	case sp.parent != nil:
		sp.process = newSpan(nameOf(p), s.cfg.TraceID[:], sp.parent.process.SpanId)
	default:
		sp.process = newSpan(nameOf(p), s.cfg.TraceID[:], s.root.SpanId)
	}
	sp.process.StartTimeUnixNano = s.wall(ev.MonoNS)
	sp.process.Attributes = append(sp.process.Attributes, num("process.pid", int64(p.PID)))
	if m := p.Parent(); m != nil {
		sp.process.Attributes = append(sp.process.Attributes, num("process.parent_pid", int64(m.PID)))
	}
	s.live[p] = sp
	if s.ready != nil {
		return sp
	}
	s.all = append(s.all, sp)
	if len(s.all) > max(2*s.cfg.MaxSpans, s.pruneAt) {
		s.prune()
		s.pruneAt = 2 * len(s.all) // what lives stays, however much it is
	}
	return sp
}

func nameOf(p *process.Process) string { c := p.Program().Command; return filepath.Base(c.Name()) }

func (s *Sink) beginProgram(sp *spans, p *process.Process, ev *taskwatch.Event) {
	c := p.Program().Command
	g := newSpan(nameOf(p), sp.process.TraceId, sp.process.SpanId)
	sp.process.Name = g.Name // a process is called what it ran last
	g.StartTimeUnixNano = s.wall(ev.MonoNS)
	g.Attributes = []*commonpb.KeyValue{num("process.pid", int64(p.PID)), str("process.executable.name", g.Name)}
	if c.Exe != "" {
		g.Attributes = append(g.Attributes, str("process.executable.path", c.Exe))
	}
	if len(c.Argv) > 0 {
		g.Attributes = append(g.Attributes, list("process.command_args", c.Argv))
	}
	if c.Cut {
		g.Attributes = append(g.Attributes, flag("taskwatch.argv_cut", true))
	}
	if !ev.Missing.Has(taskwatch.FieldCwd) && ev.Task.Cwd != "" {
		g.Attributes = append(g.Attributes, str("process.working_directory", ev.Task.Cwd))
	}
	sp.programs = append(sp.programs, g)
	sp.ran = true
	if s.command == nil && sp.parent == nil {
		s.command = c.Argv
	}
}

func (s *Sink) endProgram(sp *spans, mono int64) {
	n := len(sp.programs)
	if n == 0 || sp.programs[n-1].EndTimeUnixNano != 0 {
		return
	}
	g := sp.programs[n-1]
	g.EndTimeUnixNano = max(s.wall(mono), g.StartTimeUnixNano)
	if s.ready != nil {
		sp.programs = sp.programs[:0]
		s.ready(g)
	}
}

// status stores how a process ended, in its span and in that of its last
// program, and reports whether that is a failure.
func (s *Sink) status(sp *spans, ev *taskwatch.Event) bool {
	var attributes []*commonpb.KeyValue
	var message, kind string
	switch {
	case !ev.Missing.Has(taskwatch.FieldExitSignal) && ev.Exit.Signal != 0:
		if kind = unix.SignalName(unix.Signal(ev.Exit.Signal)); kind == "" {
			kind = "signal " + strconv.Itoa(ev.Exit.Signal)
		}
		message = "killed by " + kind
		attributes = append(attributes, num("process.exit.code", 128+int64(ev.Exit.Signal)))
	case !ev.Missing.Has(taskwatch.FieldExitCode):
		attributes = append(attributes, num("process.exit.code", int64(ev.Exit.Code)))
		if ev.Exit.Code != 0 {
			kind = strconv.Itoa(ev.Exit.Code)
			message = "exit status " + kind
		}
	}
	if message != "" {
		attributes = append(attributes, str("error.type", kind))
	}
	set := func(span *tracepb.Span) {
		span.Attributes = append(span.Attributes, attributes...)
		if message != "" {
			span.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: message}
		}
	}
	set(sp.process)
	if n := len(sp.programs); n > 0 {
		set(sp.programs[n-1])
	}
	return message != ""
}

func (s *Sink) end(p *process.Process, mono int64) {
	if sp := s.live[p]; sp != nil {
		s.endProgram(sp, mono)
		sp.process.EndTimeUnixNano = max(s.wall(mono), sp.process.StartTimeUnixNano)
		sp.ended = true
		delete(s.live, p)
		if s.ready != nil {
			s.ready(sp.process)
		}
	}
}

// endAll ends the spans of all live processes, whose own end was not seen.
func (s *Sink) endAll() {
	for p, sp := range s.live {
		if s.ready != nil {
			sp.process.Attributes = append(sp.process.Attributes, flag("taskwatch.running", true))
		}
		s.end(p, s.last)
	}
}

// prune removes the least important spans, but not those of live processes and
// their ancestors.
func (s *Sink) prune() {
	for _, p := range s.all {
		p.keep = false
	}
	room := s.cfg.MaxSpans - 1 // the root
	keep := func(p *spans, always bool) {
		need := 0
		for a := p; a != nil && !a.keep; a = a.parent {
			need += a.count()
		}
		if need > room && !always {
			return
		}
		room -= need
		for a := p; a != nil && !a.keep; a = a.parent {
			a.keep = true
		}
	}
	for _, p := range s.all {
		if !p.ended {
			keep(p, true)
		}
	}
	order := slices.Clone(s.all)
	slices.SortStableFunc(order, func(a, b *spans) int {
		if a.failed != b.failed {
			if a.failed {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.duration(), a.duration())
	})
	for _, p := range order {
		keep(p, false)
	}
	s.all = slices.DeleteFunc(s.all, func(p *spans) bool {
		if !p.keep {
			s.gone += p.count()
		}
		return !p.keep
	})
}

func (p *spans) duration() uint64 { return p.process.EndTimeUnixNano - p.process.StartTimeUnixNano }

func (c *Config) spanData(list []*tracepb.Span) proto.Message {
	return &tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource: c.resource(), SchemaUrl: schemaURL,
		ScopeSpans: []*tracepb.ScopeSpans{{Scope: scope(), SchemaUrl: schemaURL, Spans: list}},
	}}}
}

func scope() *commonpb.InstrumentationScope {
	return &commonpb.InstrumentationScope{Name: scopeName}
}

// resource describes where the data come from.
func (c *Config) resource() *resourcepb.Resource {
	attributes := host()
	maps.Copy(attributes, c.Resource)
	return resourceOf(attributes)
}

func resourceOf(attributes map[string]string) *resourcepb.Resource {
	res := &resourcepb.Resource{}
	for _, k := range slices.Sorted(maps.Keys(attributes)) {
		res.Attributes = append(res.Attributes, str(k, attributes[k]))
	}
	return res
}

func usage(u *process.Usage) []*commonpb.KeyValue {
	var list []*commonpb.KeyValue
	if !u.Missing.Has(taskwatch.FieldUTime) && !u.Missing.Has(taskwatch.FieldSTime) {
		list = append(list, num("taskwatch.cpu.user_ns", u.UserNS), num("taskwatch.cpu.system_ns", u.SystemNS))
	}
	if !u.Missing.Has(taskwatch.FieldMaxRSS) && u.MaxRSS > 0 {
		list = append(list, num("taskwatch.maxrss_bytes", int64(u.MaxRSS)))
		if u.PeakAtMost() {
			list = append(list, flag("taskwatch.maxrss_at_most", true))
		}
	}
	return list
}

func ids(ev *taskwatch.Event, now taskwatch.IDs) []*commonpb.KeyValue {
	list := []*commonpb.KeyValue{str("taskwatch.cause", ev.Cause.String())}
	if !ev.Missing.Has(taskwatch.FieldOld) {
		list = append(list, str("taskwatch.old", fmt.Sprint(ev.OldIDs)))
	}
	field := taskwatch.FieldUID
	if ev.Kind == taskwatch.GID {
		field = taskwatch.FieldGID
	}
	if !ev.Missing.Has(field) {
		list = append(list, str("taskwatch.new", fmt.Sprint(now)))
	}
	return list
}
