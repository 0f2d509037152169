// Package link builds the programs of hooks: it generates a dispatcher, which
// takes an event out of the hook's arguments and calls the watchers of all
// modules, and links their functions behind it. It makes no system call: what it
// gets of the kernel are the numbers of maps.
package link
