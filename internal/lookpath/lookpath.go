// Package lookpath finds the programs that sources are to run.
package lookpath

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Find returns the path of a program as a shell finds it: a name without a
// slash is searched in PATH of env, and a file that may not be executed is
// remembered in case nothing better comes. Relative directories of PATH are
// meant from dir; "" is the working directory.
//
// The error matches os.ErrNotExist or os.ErrPermission. A name with a slash is
// returned as it is, without a look at the file.
func Find(name, dir string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	path := ""
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	var denied error
	for _, d := range strings.Split(path, ":") {
		if d == "" {
			d = "."
		}
		candidate := d + "/" + name
		full := candidate
		if dir != "" && !strings.HasPrefix(d, "/") {
			full = dir + "/" + candidate
		}
		st, err := os.Stat(full)
		switch {
		case err != nil || st.IsDir():
		case unix.Access(full, unix.X_OK) != nil:
			denied = os.ErrPermission
		default:
			return candidate, nil
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", fmt.Errorf("not found in PATH: %w", os.ErrNotExist)
}
