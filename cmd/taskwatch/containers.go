package main

import (
	"slices"
	"sync"

	"github.com/taskwatch/taskwatch/enrich"
	"github.com/taskwatch/taskwatch/enrich/cri"
)

// containerNames returns what the runtimes of this machine tell. They are asked
// until the program ends.
var containerNames = sync.OnceValue(func() *enrich.Names {
	return enrich.NewNames(slices.Concat(enrich.Local(), cri.Local())...)
})
