//go:build !wasip1

package guest

import "embed"

// Files holds the source of this package and of those below storage, with which taskwatch builds modules
// where no Go module provides it.
//
//go:embed *.go internal/bridge/*.go internal/outside/outside.go internal/outside/export_wasip1.go storage/storage.go storage/byprocess/byprocess.go
var Files embed.FS
