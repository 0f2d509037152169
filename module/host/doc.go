// Package host loads modules of every kind, for all commands and the daemon.
// The content of its file decides where a module runs; nothing else differs.
//
// [Parse] takes a file, [Host.Load] makes a [Module] of it, and [Module.Start]
// has its watchers called. A [Host] is a source with its registry, and the
// table in the kernel where the source has one.
//
//	file, err := host.Parse("count", bytes)
//	defer file.Close()
//	m, err := h.Load(file, host.Options{})
//	defer m.Close()
//	err = m.Start()
//
// Errors are of type [*Error]. Modules for the kernel need CAP_BPF and
// CAP_PERFMON, or root; the others need nothing.
package host
