// Package operator does what people do with a fleet: say what is to run, wait
// until it does, and ask all nodes at once.
package operator
