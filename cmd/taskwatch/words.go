package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// cause returns what is left of err when its reader knows what was tried on
// which file.
func cause(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// shellMessage says why a command cannot be started, as a shell would, and
// what that often means.
func shellMessage(name string, why error) string {
	var hint string
	if name == "" {
		name = "''"
	}
	var errno syscall.Errno
	errors.As(why, &errno)
	switch {
	case errors.Is(why, fs.ErrNotExist) && !strings.Contains(name, "/"):
		return name + ": command not found"
	case errors.Is(why, fs.ErrNotExist):
		why = syscall.ENOENT
		if _, err := os.Stat(name); err == nil {
			hint = " (the file exists, but not the interpreter that it names)"
		}
	case errors.Is(why, syscall.EACCES):
		if st, err := os.Stat(name); err == nil && st.IsDir() {
			why = syscall.EISDIR
		}
	case errors.Is(why, fs.ErrPermission):
		why = syscall.EACCES // it was found in PATH, and may not be executed
	case errno == syscall.ENOEXEC:
		hint = " (a script needs #! and its interpreter in the first line; or run it as 'sh " + name + "')"
	}
	return name + ": " + why.Error() + hint
}
