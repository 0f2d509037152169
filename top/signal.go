package top

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func signalName(n int) string {
	if name := unix.SignalName(unix.Signal(n)); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", n)
}
