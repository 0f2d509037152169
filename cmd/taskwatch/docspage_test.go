package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pagePath is the PATH in which the commands of pages for root run, as an
// entry of an environment: with taskwatch, and a sudo that ends a watch once it has
// watched a program, and has it observe where the kernel lets nobody deny.
func pagePath(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	sudo := `#!/bin/sh
case "$2" in
watch)
	shift 2
	said=$0.$$
	taskwatch watch --allow-observe-only "$@" 2>"$said" &
	until grep -q '^taskwatch: watching ' "$said" || ! kill -0 $! 2>/dev/null; do sleep 0.02; done
	setpriv --reuid 1000 --clear-groups /bin/true
	kill -TERM $! 2>/dev/null
	wait $!
	status=$?
	cat "$said" >&2
	exit $status
	;;
esac
exec "$@"
`
	if err := os.WriteFile(filepath.Join(bin, "sudo"), []byte(sudo), 0o755); err != nil {
		t.Fatal(err)
	}
	return "PATH=" + strings.Join([]string{bin, filepath.Dir(binary(t)), os.Getenv("PATH")}, ":")
}

// pageDir is a directory that has modules/ and nothing else.
func pageDir(t *testing.T) string {
	t.Helper()
	modules, err := filepath.Abs("../../modules")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(modules, filepath.Join(dir, "modules")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// pageShell is a shell for a page's commands, one after the other. If they do
// not end in time, it is killed with all that it has started.
func pageShell(t *testing.T, script, dir string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, "/bin/sh", "-eu")
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.Stdin, c.Dir, c.WaitDelay = strings.NewReader(script), dir, time.Second
	return c
}
