package testutil

import (
	"os"
	"os/exec"
	"testing"
)

// Emulator is the program that runs the test binaries, from
// TASKWATCH_EMULATOR, or "" where the processor does. It is for processors that
// the machine does not have: go test -exec qemu-s390x. Such a program passes
// system calls on, and knows those that most programs use.
func Emulator() string { return os.Getenv("TASKWATCH_EMULATOR") }

// Self is a command that runs the test binary once more, with these arguments.
func Self(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	if Emulator() == "" {
		return exec.Command("/proc/self/exe", args...) // the file itself, wherever it has gone
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(Emulator(), append([]string{self}, args...)...)
}
