// Package process builds the tree of processes from items: which processes
// exist, which process created each of them, and which programs each has run,
// from when to when. An exec ends one program and starts the next.
//
// A [Tree] needs memory for live tasks, for dead processes with live
// descendants (at most maxDead in a row), and for as many ended processes as
// [Tree.Remember] says. Only one goroutine at a time may use it.
//
// The parent of a process is the process that created it. This is the process
// with its PPID, except in two cases: with CLONE_PARENT, the kernel makes the
// new process a sibling of its creator, and when a parent dies, its children
// move to init or a subreaper. Neither changes the parent here.
package process
