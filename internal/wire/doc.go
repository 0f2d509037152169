// Package wire is the task record: the fixed layout in which an event and its
// task are given to a module in the sandbox. Strings that may be long are not
// part of it; the module asks for them.
//
// All integers are little endian. The layout is generated, for the host, for
// C and for Go modules, from the one table in gen, and each of the three
// asserts its size.
package wire

//go:generate go run ./gen
