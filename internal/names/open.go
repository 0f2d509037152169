package names

import "golang.org/x/sys/unix"

// nonblock keeps the opening of a FIFO from waiting for its writer.
const nonblock = unix.O_NONBLOCK | unix.O_NOCTTY
