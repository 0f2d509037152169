package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
)

// What a release sets with -ldflags -X; the rest comes from what the go command
// records.
var (
	releaseVersion string // the tag, like v1.2.3
	releaseTime    string // of the commit, in the form of RFC 3339
)

// version returns the version in one line.
func version() string {
	v := releaseVersion
	if info, ok := debug.ReadBuildInfo(); ok {
		v = cmp.Or(v, info.Main.Version)
	}
	return fmt.Sprintf("%s %s/%s %s", cmp.Or(v, "(unknown)"), runtime.GOOS, runtime.GOARCH, runtime.Version())
}
