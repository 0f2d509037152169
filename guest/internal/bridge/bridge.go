// Package bridge is what package guest and its host know of each other where
// the host is a test.
package bridge

import "unsafe"

// Var is a variable or parameter of the module.
type Var struct {
	Name    string
	Type    uint32 // as the host numbers them
	Param   bool
	Address unsafe.Pointer
	Count   int // elements
}

// The types that package guest has.
const (
	U64  = 4
	S64  = 8
	Bool = 9
	Char = 10 // Count bytes are a string
)

// Of the module.
var (
	Vars   func() []Var  // in the order of their declaration
	Unread func() uint64 // the default fields that it does without
	Record []byte        // where the current event is written to
)

// Host is what the host does for a module. Its functions are never nil.
type Host struct {
	// Field returns a string of the current event, or a negative errno.
	Field func(field, index uint32) (string, int32)
	Log   func(level uint32, text string)
	Emit  func(record []byte) int32
}

// Absent is the host where there is none.
var Absent = Host{
	Field: func(uint32, uint32) (string, int32) { return "", -22 },
	Log:   func(uint32, string) {},
	Emit:  func([]byte) int32 { return -2 },
}

// Current is the host.
var Current = Absent
