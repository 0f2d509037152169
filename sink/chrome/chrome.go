// Package chrome writes traces as Chrome's JSON, which chrome://tracing,
// Perfetto, speedscope and others read. Each lane is a thread of one process;
// the numbers of real processes stand in the arguments.
package chrome

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/taskwatch/taskwatch/sink/lane"
)

// New returns a sink that writes to w.
func New(w io.Writer) *lane.Sink {
	return lane.NewSink(&writer{w: bufio.NewWriterSize(w, 64<<10), open: map[*lane.Lane]begun{}})
}

type writer struct {
	w     *bufio.Writer
	any   bool
	named bool
	open  map[*lane.Lane]begun
}

type begun struct {
	ns    int64
	slice lane.Slice
}

// micros is a time in microseconds, to the nanosecond.
type micros int64

func (m micros) MarshalJSON() ([]byte, error) {
	sign, ns := "", uint64(m)
	if m < 0 { // recordings say what they like
		sign, ns = "-", -ns
	}
	return fmt.Appendf(nil, "%s%d.%03d", sign, ns/1000, ns%1000), nil
}

// length is the duration of a slice. Readers subtract the time of the first
// event from the start, and add the duration, in floating point. The sum must be
// the start of the next slice: if it is a millionth more, speedscope takes the
// two slices for nested. So length is the difference of the times as readers
// parse them.
type length struct{ start, end micros }

func (l length) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, number(l.end)-number(l.start), 'f', -1, 64), nil
}

// number returns a time as a reader parses it.
func number(m micros) float64 {
	text, _ := m.MarshalJSON()
	f, _ := strconv.ParseFloat(string(text), 64) // of digits alone
	return f
}

type event struct {
	Phase    string         `json:"ph"`
	PID      int            `json:"pid"`
	TID      uint64         `json:"tid"`
	TS       *micros        `json:"ts,omitempty"`
	Dur      *length        `json:"dur,omitempty"`
	Name     string         `json:"name"`
	Category string         `json:"cat,omitempty"`
	ID       uint64         `json:"id,omitempty"`
	Bind     string         `json:"bp,omitempty"`
	Scope    string         `json:"s,omitempty"`
	Args     map[string]any `json:"args,omitempty"`
}

func at(ns int64) *micros {
	m := micros(ns)
	return &m
}

func tid(l *lane.Lane) uint64 {
	if l == nil {
		return 0
	}
	return l.ID
}

func argsOf(lists ...[]lane.Arg) map[string]any {
	m := map[string]any{}
	for _, list := range lists {
		for _, a := range list {
			m[a.Name] = a.Value
		}
	}
	return m
}

func (w *writer) write(e event) error {
	head := ",\n"
	if !w.any {
		head = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n"
		w.any = true
	}
	if _, err := w.w.WriteString(head); err != nil {
		return err
	}
	e.PID = 1
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = w.w.Write(b)
	return err
}

func (w *writer) Lane(l *lane.Lane) error {
	if !w.named {
		w.named = true
		if err := w.write(event{Phase: "M", Name: "process_name", Args: map[string]any{"name": "taskwatch"}}); err != nil {
			return err
		}
	}
	if err := w.write(event{Phase: "M", TID: l.ID, Name: "thread_name", Args: map[string]any{"name": l.Name()}}); err != nil {
		return err
	}
	return w.write(event{Phase: "M", TID: l.ID, Name: "thread_sort_index", Args: map[string]any{"sort_index": l.ID}})
}

func (w *writer) Begin(l *lane.Lane, ns int64, s lane.Slice) error {
	w.open[l] = begun{ns, s}
	if s.Flow == 0 {
		return nil
	}
	return w.write(event{Phase: "f", Bind: "e", TID: l.ID, TS: at(ns), Name: "fork", Category: "fork", ID: s.Flow})
}

// End writes the whole slice: the events of the format need no order.
func (w *writer) End(l *lane.Lane, ns int64, args []lane.Arg) error {
	b, ok := w.open[l]
	if !ok {
		return nil
	}
	delete(w.open, l)
	return w.write(event{
		Phase: "X", TID: l.ID, TS: at(b.ns), Dur: &length{micros(b.ns), micros(ns)}, Name: b.slice.Name, Category: b.slice.Category,
		Args: argsOf(b.slice.Args, args),
	})
}

func (w *writer) Instant(l *lane.Lane, ns int64, i lane.Instant) error {
	scope := "t"
	if l == nil {
		scope = "g"
	}
	return w.write(event{Phase: "i", Scope: scope, TID: tid(l), TS: at(ns), Name: i.Name, Category: i.Category, Args: argsOf(i.Args)})
}

func (w *writer) Flow(l *lane.Lane, ns int64, flow uint64) error {
	return w.write(event{Phase: "s", TID: l.ID, TS: at(ns), Name: "fork", Category: "fork", ID: flow})
}

func (w *writer) Live(ns int64, tasks int) error {
	return w.write(event{Phase: "C", TS: at(ns), Name: "live tasks", Args: map[string]any{"tasks": tasks}})
}

func (w *writer) Close(int64) error {
	end := "\n]}\n"
	if !w.any {
		end = "{\"traceEvents\":[]}\n"
	}
	if _, err := w.w.WriteString(end); err != nil {
		return err
	}
	return w.w.Flush()
}
