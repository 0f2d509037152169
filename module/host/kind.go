package host

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"path/filepath"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/module/wasm"
)

// The kinds of modules.
const (
	Kernel  = "kernel" // a BPF object
	Sandbox = "wasm"   // a WebAssembly module
	Go      = "go"     // compiled in
)

// MaxFileSize is the size in bytes that the file of a module may have.
const MaxFileSize = max(kernel.MaxObjectSize, wasm.MaxModuleSize)

// kindOf returns the kind of a file by its content.
func kindOf(b []byte) (string, error) {
	switch {
	case bytes.HasPrefix(b, []byte(elf.ELFMAG)):
		return Kernel, nil
	case wasm.IsModule(b):
		return Sandbox, nil
	case len(b) == 0:
		return "", fmt.Errorf("%w: the file is empty; build a module with 'taskwatch module build'", taskwatch.ErrInvalid)
	}
	return "", fmt.Errorf("%w: it is neither a BPF object nor a WebAssembly module; build one with 'taskwatch module build'", taskwatch.ErrInvalid)
}

// Read reads the file of a module, which is known by its name to be no source,
// up to [MaxFileSize].
func Read(name string, r io.Reader) ([]byte, error) {
	switch filepath.Ext(name) {
	case ".c", ".go":
		return nil, fmt.Errorf("it is a source; build it with 'taskwatch module build %s'", name)
	}
	b, err := io.ReadAll(io.LimitReader(r, MaxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(b) > MaxFileSize {
		return nil, fmt.Errorf("it has more than %d bytes, the limit for modules", MaxFileSize)
	}
	return b, nil
}
