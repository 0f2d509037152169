// Package include holds the C headers that modules are written against.
package include

import "embed"

// Files holds the headers by name: task_watchers.h, which modules include,
// and the part of it for each target.
//
//go:embed *.h
var Files embed.FS
