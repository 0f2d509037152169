// Package guesttest is a host for modules of package guest in their own unit
// tests: without the sandbox, as plain Go.
//
//	func TestCount(t *testing.T) {
//		host := guesttest.New(t)
//		host.Set("least", "1")
//		task := host.Event(&taskwatch.Event{Kind: taskwatch.Exec, Task: &taskwatch.Task{Argv: []string{"true"}}})
//		if rc := count(task.Val(), task); rc != 0 {
//			t.Errorf("it returned %d", rc)
//		}
//		if got := host.Get("execs"); got != "1" {
//			t.Errorf("%s execs", got)
//		}
//	}
//
// An event may also be one of a recording: see package record. What the
// sandbox adds, its limits above all, is not here; 'taskwatch replay -m' runs
// the built module with them.
package guesttest

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/guest"
	"github.com/taskwatch/taskwatch/guest/internal/bridge"
	"github.com/taskwatch/taskwatch/internal/wire"
)

// Host is what the module under test runs in. It is for one goroutine.
type Host struct {
	// Emitted are the records that the module has sent.
	Emitted [][]byte

	// Logged are the lines it has logged.
	Logged []string

	// ParentExe is the program of the parent of each event's task, which no event has.
	ParentExe string

	t  testing.TB
	ev *taskwatch.Event
}

// New makes a host, which is the module's until the test ends: then its
// parameters and variables are what they were before. There is one at a time.
func New(t testing.TB) *Host {
	t.Helper()
	h := &Host{t: t}
	old := bridge.Vars()
	values := make([][]byte, len(old))
	for i, v := range old {
		values[i] = bytes.Clone(memory(v))
	}
	bridge.Current = bridge.Host{Field: h.field, Log: h.log, Emit: h.emit}
	t.Cleanup(func() {
		bridge.Current = bridge.Absent
		for i, v := range old {
			copy(memory(v), values[i])
		}
	})
	return h
}

// Event makes ev the current event and returns what a watcher gets of it,
// until the next one. The event's Task must not be nil. What the module does not
// read, by its [guest.Info], is missing, as in the sandbox.
func (h *Host) Event(ev *taskwatch.Event) *guest.Task {
	h.ev = ev
	wire.Put((*[wire.Size]byte)(bridge.Record), ev)
	wire.Hide(bridge.Record, taskwatch.Fields(bridge.Unread()))
	return (*guest.Task)(unsafe.Pointer(unsafe.SliceData(bridge.Record)))
}

// Set sets a parameter, as the user would when the module is loaded.
func (h *Host) Set(name, value string) {
	h.t.Helper()
	v := h.find(name)
	if !v.Param {
		h.t.Fatalf("guesttest: %s is a variable, and no parameter", name)
	}
	if err := set(v, value); err != nil {
		h.t.Fatalf("guesttest: parameter %s=%s: %v", name, value, err)
	}
}

func set(v bridge.Var, value string) (err error) {
	switch v.Type {
	case bridge.U64:
		if v.Count > 1 {
			return setList(v, value)
		}
		*(*uint64)(v.Address), err = strconv.ParseUint(value, 0, 64)
	case bridge.S64:
		*(*int64)(v.Address), err = strconv.ParseInt(value, 0, 64)
	case bridge.Bool:
		*(*bool)(v.Address), err = strconv.ParseBool(value)
	case bridge.Char:
		b := memory(v)
		if len(value) >= len(b) {
			return fmt.Errorf("it has room for %d bytes", len(b)-1)
		}
		clear(b)
		copy(b, value)
	}
	return err
}

// setList sets a list and its count.
func setList(v bridge.Var, value string) error {
	var list []uint64
	for text := range strings.SplitSeq(value, ":") {
		if value == "" {
			break
		}
		n, err := strconv.ParseUint(text, 0, 64)
		if err != nil {
			return err
		}
		list = append(list, n)
	}
	values := unsafe.Slice((*uint64)(v.Address), v.Count)
	if len(list) > len(values) {
		return fmt.Errorf("there are %d values, and there is room for %d", len(list), len(values))
	}
	clear(values[copy(values, list):])
	for _, c := range bridge.Vars() {
		if c.Name == v.Name+"_count" {
			*(*uint64)(c.Address) = uint64(len(list))
		}
	}
	return nil
}

// Get returns the value of a parameter or variable as text.
func (h *Host) Get(name string) string {
	h.t.Helper()
	v := h.find(name)
	switch v.Type {
	case bridge.U64:
		list := unsafe.Slice((*uint64)(v.Address), v.Count)
		if v.Count > 1 {
			return fmt.Sprint(list)
		}
		return fmt.Sprint(list[0])
	case bridge.S64:
		return fmt.Sprint(*(*int64)(v.Address))
	case bridge.Bool:
		return fmt.Sprint(*(*bool)(v.Address))
	}
	text, _, _ := strings.Cut(string(memory(v)), "\x00")
	return text
}

func (h *Host) find(name string) bridge.Var {
	h.t.Helper()
	vars := bridge.Vars()
	i := slices.IndexFunc(vars, func(v bridge.Var) bool { return v.Name == name })
	if i < 0 {
		h.t.Fatalf("guesttest: the module has no parameter or variable %q", name)
	}
	return vars[i]
}

// memory returns the bytes of a variable.
func memory(v bridge.Var) []byte {
	size := map[uint32]int{bridge.U64: 8, bridge.S64: 8, bridge.Bool: 1, bridge.Char: 1}[v.Type]
	return unsafe.Slice((*byte)(v.Address), size*v.Count)
}

// The errors of the host.
const (
	enoent   = -2
	einval   = -22
	emsgsize = -90

	maxEmit = 64 << 10
)

func (h *Host) field(number, index uint32) (string, int32) {
	if h.ev == nil {
		return "", einval
	}
	var strings wire.Strings
	strings.Set(h.ev)
	strings.ParentExe = h.ParentExe
	value, there, known := strings.Field(number, index, taskwatch.Fields(bridge.Unread()))
	switch {
	case !known:
		return "", einval
	case !there:
		return "", enoent
	}
	return value, 0
}

func (h *Host) log(_ uint32, text string) { h.Logged = append(h.Logged, text) }

func (h *Host) emit(record []byte) int32 {
	switch {
	case h.ev == nil:
		return einval
	case len(record) > maxEmit:
		return emsgsize
	}
	h.Emitted = append(h.Emitted, bytes.Clone(record))
	return 0
}
