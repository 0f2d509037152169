package bpf

import (
	"errors"

	"github.com/taskwatch/taskwatch/module/kernel"
)

// NewTable returns a table like that of a source, for modules to be checked with
// [kernel.Table.Check]: they share its hooks with the programs of the source, which
// take a part of what the verifier allows. Nothing is attached, and no event is read.
// It needs the privileges of New, but for the initial pid namespace. Call free once
// neither the table nor a module that was loaded for it is used.
func NewTable() (table *kernel.Table, free func() error, err error) {
	k := &half{}
	if err := k.makeTable(&Config{BufferSize: minBufferSize}); err != nil {
		return nil, nil, errors.Join(explain(err), k.close())
	}
	return k.table, k.close, nil
}
