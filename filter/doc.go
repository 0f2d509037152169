// Package filter selects items with expressions in CEL (https://cel.dev).
//
// The names are those of the fields, as in Event.Missing: exe, exit.code. There
// are three answers. A missing field is unknown, and so is an expression whose
// value depends on it; unknown never counts as no. A field that this kind of
// event does not have is an error in CEL, which || absorbs and has() tests for;
// such an item does not match.
package filter
