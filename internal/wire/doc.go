// Package wire is the task record: the fixed layout in which an event and its
// task are given to a module in the sandbox. Strings that may be long are not
// part of it; the module asks for them.
//
// The record only grows, at its end: a module that knows a shorter one gets its
// beginning.
//
// All integers are little endian. The layout is generated, for the host, for
// C and for Go modules, from the table of package schema, and each of the three
// asserts its size.
package wire
