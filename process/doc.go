// Package process keeps the tree of processes, fed by items: which processes
// there are, what made each, and the programs that each has run, with their
// spans. An exec ends one program and begins the next.
//
// A [Tree] keeps something for live tasks, for dead processes that have live
// descendants, as far as maxDead of them in a row, and for as many ended ones
// as [Tree.Remember] says. It is for one goroutine at a time.
//
// The parent of a process is the process that made it. That is its PPID, but
// for two cases: CLONE_PARENT has the kernel give the new process its maker's
// parent, and the death of a parent gives its children to init or a subreaper.
// Here neither changes who made whom.
package process
