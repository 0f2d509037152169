// Package node makes a daemon a node of a fleet: it asks the hub what is to run,
// has the daemon run that, reports what became of it, and answers questions.
//
// What the node has accepted is kept in a directory, with the files of the
// modules: a node that starts while its hub is away runs what it ran before.
//
// One goroutine changes what runs; see [Node.Run]. Another repeats what it has
// reported, and others fetch files from registries. No lock is taken below another.
package node
