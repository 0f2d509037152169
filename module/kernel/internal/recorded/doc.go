// Package recorded is what the kernel has of tasks, as far as a recording has it:
// structures with the kernel's names for package machine, filled in from events.
//
// There are only the fields of the table in layout.go. A field that is not there is
// not known, and neither is one that the event leaves out; a program that reads one
// gets an error and no value. Only the tasks themselves keep their place. What they
// point to has another one at each event.
package recorded
