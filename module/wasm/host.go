package wasm

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/internal/cvalue"
	"github.com/taskwatch/taskwatch/module/wasm/rewrite"
)

// hostModule is the name under which modules import what the host gives them.
const hostModule = "taskwatch"

// hostFuncs are the signatures of the imports.
var hostFuncs = map[string]rewrite.FuncType{
	"task_field": "i,i,i,i>i",
	"log":        "i,i,i>",
	"emit":       "i,i>i",

	"emit_struct": "i,i,i>i",
}

// host is what a module can ask for while it is called. Its fields are those
// of the goroutine that calls, but for the counters.
type host struct {
	dog *watchdog

	event  *packedEvent     // the event; nil outside of a watcher
	unread taskwatch.Fields // of it, which the module does not get

	onLog  func(slog.Level, string)
	onEmit func([]byte) // nil where nobody listens

	types emitTypes

	emits, logs    allowance
	stdout, stderr lineWriter

	emitted, emitsDropped, logsDropped atomic.Uint64
}

// define gives the runtime the host's functions.
func (h *host) define(rt wazero.Runtime, dog *watchdog) error {
	h.dog = dog
	h.emits = allowance{perCall: emitsPerCall, perSecond: emitsPerSecond}
	h.logs = allowance{perCall: logsPerCall, perSecond: logsPerSecond}
	h.stdout = lineWriter{line: func(s string) { h.log(slog.LevelInfo, s) }}
	h.stderr = lineWriter{line: func(s string) { h.log(slog.LevelWarn, s) }}
	b := rt.NewHostModuleBuilder(hostModule)
	for name, fn := range map[string]func(api.Module, []uint64){
		"task_field": h.taskField, "log": h.logText, "emit": h.emit, "emit_struct": h.emitStruct,
	} {
		params, results := values(hostFuncs[name])
		b.NewFunctionBuilder().WithGoModuleFunction(
			api.GoModuleFunc(func(_ context.Context, mod api.Module, stack []uint64) { fn(mod, stack) }), params, results).Export(name)
	}
	_, err := b.Instantiate(background)
	return err
}

// values returns a signature as wazero has it.
func values(t rewrite.FuncType) (params, results []api.ValueType) {
	types := map[rune]api.ValueType{'i': api.ValueTypeI32, 'I': api.ValueTypeI64, 'f': api.ValueTypeF32, 'F': api.ValueTypeF64, 'r': api.ValueTypeExternref}
	list := &params
	for _, c := range t {
		if c == '>' {
			list = &results
		} else if c != ',' {
			*list = append(*list, types[c])
		}
	}
	return params, results
}

// begin says that a watcher is about to be called with that event, or, with
// none, something else.
func (h *host) begin(e *packedEvent) {
	h.event = e
	h.emits.begin()
	h.logs.begin()
}

func errnoResult(stack []uint64, e syscall.Errno) { stack[0] = api.EncodeI32(-int32(e)) }

// taskField is task_field(field, index, buf, cap).
func (h *host) taskField(mod api.Module, stack []uint64) {
	if h.event == nil {
		errnoResult(stack, syscall.EINVAL)
		return
	}
	value, there, known := h.event.text.Field(uint32(stack[0]), uint32(stack[1]), h.unread)
	room := value[:min(uint64(len(value)), uint64(uint32(stack[3])))]
	switch {
	case !known:
		errnoResult(stack, syscall.EINVAL)
	case !there:
		errnoResult(stack, syscall.ENOENT)
	case !mod.Memory().WriteString(uint32(stack[2]), room):
		errnoResult(stack, syscall.EFAULT)
	default:
		stack[0] = uint64(len(value))
	}
}

// emitStruct is emit_struct(ptr, len, type).
func (h *host) emitStruct(mod api.Module, stack []uint64) {
	typ := h.types.of(uint32(stack[2]), uint32(stack[1]))
	h.send(mod, stack, func(data []byte) []byte {
		if typ == nil {
			return data
		}
		text, fits := cvalue.Sandbox(mod.Memory().Read).AppendJSON(nil, typ, data)
		if !fits {
			return data
		}
		return text
	})
}

// emit is emit(ptr, len).
func (h *host) emit(mod api.Module, stack []uint64) {
	h.send(mod, stack, func(data []byte) []byte { return data })
}

// send sends what a function makes of the bytes at ptr.
func (h *host) send(mod api.Module, stack []uint64, as func([]byte) []byte) {
	n := uint32(stack[1])
	if n > maxEmit {
		h.emitsDropped.Add(1)
		errnoResult(stack, syscall.EMSGSIZE)
		return
	}
	data, ok := mod.Memory().Read(uint32(stack[0]), n)
	switch {
	case h.event == nil:
		errnoResult(stack, syscall.EINVAL)
	case !ok:
		errnoResult(stack, syscall.EFAULT)
	case h.onEmit == nil:
		errnoResult(stack, syscall.ENOENT)
	default:
		data = as(data)
		if !h.emits.take(len(data)) || !h.dog.outside(func() { h.onEmit(data) }) {
			h.emitsDropped.Add(1)
			errnoResult(stack, syscall.EAGAIN)
			return
		}
		h.emitted.Add(1)
		stack[0] = 0
	}
}

// logText is log(level, ptr, len).
func (h *host) logText(mod api.Module, stack []uint64) {
	level, n := uint32(stack[0]), uint32(stack[2])
	b, ok := mod.Memory().Read(uint32(stack[1]), min(n, maxLog))
	if !ok || level >= uint32(len(module.LogLevels)) {
		h.logsDropped.Add(1)
		return
	}
	s := string(b)
	if n > maxLog {
		s += "…"
	}
	h.log(module.LogLevels[level], strings.TrimRight(s, "\n"))
}

func (h *host) log(level slog.Level, s string) {
	if h.onLog == nil {
		return
	}
	if !h.logs.take(len(s)) || !h.dog.outside(func() { h.onLog(level, s) }) {
		h.logsDropped.Add(1)
	}
}

// lineWriter is a standard output of the module. What is too long for a line
// is cut, with a mark.
type lineWriter struct {
	line func(string)
	rest []byte
	cut  bool
}

func (w *lineWriter) Write(b []byte) (int, error) {
	for _, c := range b {
		switch {
		case c == '\n':
			w.flush()
		case len(w.rest) < maxLog:
			w.rest = append(w.rest, c)
		default:
			w.cut = true
		}
	}
	return len(b), nil
}

func (w *lineWriter) flush() {
	if w.cut {
		w.rest = append(w.rest, "…"...)
	}
	if len(w.rest) > 0 {
		w.line(string(w.rest))
	}
	w.rest, w.cut = w.rest[:0], false
}
