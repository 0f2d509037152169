// Package filter answers questions about items, in CEL
// (https://cel.dev): which events are to be shown.
//
// The names are those of the fields, as Event.Missing has them: exe,
// exit.code. A question has three answers. What a source could not tell is
// unknown, and an expression whose value hangs on it is unknown too; it is
// never taken for no. A field that the kind of event does not have is an error
// in the expression, which || absorbs and has() asks for: such an item does
// not match.
package filter
