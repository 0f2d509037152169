// Package check tests the files of deploy/ with the libraries of those who read
// them: Kubernetes, and promtool. It is a Go module of its own, so that taskwatch
// does not depend on them:
//
//	go -C deploy/check test ./...
package check
