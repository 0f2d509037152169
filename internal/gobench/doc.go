// Package gobench compares the Go benchmarks of two versions of this module. The
// binaries of both run in turns, so that whatever else the machine does hits both
// alike.
//
// The gate does so for what every event passes: decoding it, delivering it, writing
// it as JSON, and a call of a sandbox module. See BenchmarkAgainstBase, which is
// there to be run by hand, too:
//
//	go test -run '^$' -bench AgainstBase -benchtime 1x ./internal/gobench
package gobench
