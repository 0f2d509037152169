package wasm

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/taskwatch/taskwatch/module/internal/cvalue"
)

// described are the descriptions in [cvalue.TypesSection] by name.
type described map[string]string

func readTypes(section []byte) described {
	types := described{}
	for line := range bytes.Lines(section) {
		name, text, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		types[name] = text
	}
	return types
}

// of returns the type of that name, whose values have a size in bytes, or nil if it is
// not described.
func (d described) of(name string, size uint32) (cvalue.Type, error) {
	text, ok := d[name]
	if !ok {
		return nil, nil
	}
	return cvalue.ParseType(text, int(size))
}

// emitTypes are the types of what a module sends.
type emitTypes struct {
	described
	known map[uint32]cvalue.Type // by the number that task_watcher_emit_struct() gives it
}

// of returns the type with a number, or nil if it is not known for values of that size.
func (e *emitTypes) of(number, size uint32) cvalue.Type {
	if t := e.known[number]; t != nil && cvalue.Size(t) == int(size) {
		return t
	}
	t, err := e.described.of(cvalue.EmittedPrefix+strconv.FormatUint(uint64(number), 10), size)
	if err != nil || t == nil {
		return nil
	}
	e.known[number] = t
	return t
}
