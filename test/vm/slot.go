package vm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// MaxBoots is how many machines run at a time.
const MaxBoots = 2

// takeSlot waits until fewer than MaxBoots machines run, and returns the file
// whose lock stands for the new one. Closing it, or the end of the process,
// gives the slot back.
func takeSlot(ctx context.Context) (*os.File, error) {
	dir, err := CacheDir()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("vm: cache: %w", err)
	}
	for {
		for i := range MaxBoots {
			f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("slot%d.lock", i)), os.O_RDWR|os.O_CREATE, 0o644)
			if err != nil {
				return nil, fmt.Errorf("vm: cache: %w", err)
			}
			err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
			if err == nil {
				return f, nil
			}
			f.Close()
			if err != unix.EWOULDBLOCK {
				return nil, fmt.Errorf("vm: lock %s: %w", f.Name(), err)
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("vm: waiting for one of %d other machines to end: %w", MaxBoots, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
