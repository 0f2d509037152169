// Package kernel is the task-watcher table inside the running kernel: it
// loads modules that are BPF objects, links their watchers into one program
// per hook, and registers and unregisters them while events arrive.
//
// An [Object] is a parsed file; parsing needs no privileges. [Object.Load]
// creates its maps and gives a [Module], which a [Table] registers.
//
// # How events reach watchers
//
// Each hook of the kernel that a table uses has one small entry program,
// which does nothing but tail-call slot 0 of a program array. The slot holds
// the hook's dispatcher: a generated function that loads val and tsk from the
// hook's arguments, calls every watcher as a static subprogram, and keeps the
// first error. Registering or unregistering a module links and loads the new
// dispatchers of all hooks concerned, and only then swaps the slots: an
// error, the verifier's included, leaves the table as it was.
//
// More watchers than one program may have (64 maps, 256 functions) are linked
// into a chain of programs, which is swapped by its head.
//
// A hook is attached only while it has watchers. Nothing is pinned: when the
// process ends, however it ends, the kernel drops the table with it.
//
// # Built-ins
//
// A built-in is a module that stands before all others and may provide two
// more functions, by section name: .task_watchers.report is called after each
// watcher that failed, and .task_watchers.emit sends a module's own record to
// user space. See [Builtin].
//
// # Locking
//
// A Table has one mutex, held while it changes; the read side is in the
// kernel and takes none. The grace period of Unregister is waited for with
// the mutex held, so that a second Register cannot fill the slot in between.
package kernel
