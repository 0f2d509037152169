// Package watchtest holds the conformance suites that every implementation is
// held to. Call them from a test:
//
//	func TestConformance(t *testing.T) {
//		watchtest.Source(t, watchtest.Config{New: ...})
//		watchtest.Registry(t, watchtest.RegistryConfig{New: ...})
//		watchtest.Attach(t, watchtest.AttachConfig{New: ...})
//		watchtest.Sink(t, watchtest.SinkConfig{New: ...})
//	}
//
// [Source] runs a workload, a C program that does a known number of things to
// tasks and reports what it really did, under the source, and compares the
// events with that truth: every event, every declared field, the order, and
// that the workload itself noticed nothing. It checks exactly what the
// source's Capabilities declare, and that nothing else is delivered.
//
// [Registry] registers modules of a few shapes, whose watchers say that they
// were called, and holds the registry to the rules of notify, register and
// unregister: the order of calls, which errors are reported, counted and
// deny, what is listed, and that nothing of a module is called once its
// Unregister has returned, in a storm of events too. Each implementation makes
// the modules in its own way: of Go functions, or of the C files in
// testdata/modules.
//
// [Attach] has modules come and go while tasks do, and checks that each task meets
// one of attach and init, and one of free and detach.
//
// [Sink] gives a sink items of every kind, whose memory changes once they were
// taken, has it come and go beside others, and has its disk be full.
//
// The suite of sources needs gcc. Its cases that change ids need root and are
// skipped, with that reason, without it.
package watchtest
