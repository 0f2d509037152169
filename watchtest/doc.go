// Package watchtest holds the conformance suites that every implementation is
// held to. Call them from a test:
//
//	func TestConformance(t *testing.T) {
//		watchtest.Source(t, watchtest.Config{New: ...})
//	}
//
// [Source] runs a workload, a C program that does a known number of things to
// tasks and reports what it really did, under the source, and compares the
// events with that truth: every event, every declared field, the order, and
// that the workload itself noticed nothing. It checks exactly what the
// source's Capabilities declare, and that nothing else is delivered.
//
// The suite needs gcc. The cases that change ids need root and are skipped,
// with that reason, without it.
package watchtest
