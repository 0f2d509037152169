//go:build !race

package testutil

// Race says that the tests run under the race detector, which makes them
// slower and has sync.Pool lose things.
const Race = false
