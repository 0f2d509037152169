package build

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

//go:embed template_c.txt
var templateC string

//go:embed template_go.txt
var templateGo string

// New writes the source of a small module, which builds at once, to the file
// path. The file's name is the module's. It does not overwrite anything.
func New(path string) error {
	ext := filepath.Ext(path)
	name := strings.TrimSuffix(filepath.Base(path), ext)
	template, ok := map[string]string{".c": templateC, ".go": templateGo}[ext]
	if !ok {
		return fmt.Errorf("new module %s: the source of a module is called NAME.c or NAME.go", path)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("new module: %w", err)
	}
	_, err = f.WriteString(strings.ReplaceAll(template, "NAME", name))
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("new module %s: %w", path, err)
	}
	return nil
}
