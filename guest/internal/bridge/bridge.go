// Package bridge is what package guest tells and asks of its host, where the
// host is a test.
package bridge

import "unsafe"

// Type is the type of a variable, as the host numbers them.
type Type uint32

// The types that package guest has.
const (
	U64  Type = 4
	S64  Type = 8
	Bool Type = 9
	Char Type = 10 // Count bytes are a string
)

// Var is a variable or parameter that the host may read or write.
type Var struct {
	Name, Help string
	Type       Type
	Param      bool
	Address    unsafe.Pointer
	Count      int // elements
}

// Vars are all of them, in the order of their declaration.
var Vars []Var

// Record is where the host writes the current event, where the host is a test.
var Record []byte

// Host is what the host does for a module. Its functions are never nil.
type Host struct {
	// Field returns a string of the current event, or a negative errno.
	Field func(field, index uint32) (string, int32)
	Log   func(level uint32, text string)
	Emit  func(record []byte) int32
}

// Current is the host of a module that is not in the sandbox.
var Current = Absent

// Absent is the host where there is none.
var Absent = Host{
	Field: func(uint32, uint32) (string, int32) { return "", -22 },
	Log:   func(uint32, string) {},
	Emit:  func([]byte) int32 { return -2 },
}
