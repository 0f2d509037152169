// Package rewrite changes WebAssembly modules so that they can be stopped.
//
// A file is parsed into a [Module], which knows what the file imports and
// exports, and [Module.Instrument] writes it anew with a deadline in its code.
// Nothing here runs a module. What is wrong with a file is an error that
// matches [taskwatch.ErrInvalid].
package rewrite
