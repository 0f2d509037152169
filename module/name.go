package module

import (
	"fmt"
	"path/filepath"
	"strings"
)

// NameOf returns the name that a module has by its file: that of the file
// without what follows the last dot.
func NameOf(file string) string {
	return strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
}

// CheckName returns an error unless name can be a module's: 1 to 32 letters,
// digits, '_' and '-'.
func CheckName(name string) error {
	ok := len(name) >= 1 && len(name) <= 32
	for _, c := range []byte(name) {
		ok = ok && (c == '_' || c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z')
	}
	if !ok {
		return fmt.Errorf("name %q: a module's name is 1 to 32 letters, digits, '_' and '-'", name)
	}
	return nil
}
