package bench

import (
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// tracing is where tools look for the kernel's tracing files.
const tracing = "/sys/kernel/tracing"

// mountTracefs gives the calling thread, and what it starts, the kernel's
// tracing files where nobody has mounted them: others do not see the mount, and
// it goes with the last process that does. That there are none, or that nothing
// may be mounted, as in a container, is left to the tools that need them to
// complain of.
func mountTracefs() error {
	var fs unix.Statfs_t
	switch err := unix.Statfs(tracing, &fs); {
	case errors.Is(err, unix.ENOENT) || err == nil && fs.Type == unix.TRACEFS_MAGIC:
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", tracing, err)
	}
	switch err := unix.Unshare(unix.CLONE_NEWNS); {
	case errors.Is(err, unix.EPERM):
		return nil
	case err != nil:
		return fmt.Errorf("unshare mounts: %w", err)
	}
	if err := makePrivate(tracing); err != nil {
		return err
	}
	if err := unix.Mount("tracefs", tracing, "tracefs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount tracefs at %s: %w", tracing, err)
	}
	return nil
}

// makePrivate makes the mount that dir lies on private, so that others do not
// see what is mounted there. Its mount point is the nearest directory above that
// is one; / need not be, after a chroot.
func makePrivate(dir string) error {
	for ; ; dir = path.Dir(dir) {
		err := unix.Mount("", dir, "", unix.MS_PRIVATE, "")
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINVAL) || dir == "/" {
			return fmt.Errorf("make the mount at %s private: %w", dir, err)
		}
	}
}
