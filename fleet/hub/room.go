package hub

import (
	"fmt"
	"log/slog"

	"golang.org/x/sys/unix"
)

// room looks after the disk of a hub. JetStream does not write again to a stream
// once the disk was full, so the hub stops before. The zero value does not look:
// servers of others have disks of their own.
type room struct {
	dir  string
	log  *slog.Logger
	full bool // was said last
}

// reserve is how many bytes of the disk the hub leaves free.
const reserve = 32 << 20

// check returns an error when too little is left to store anything.
func (r *room) check() error {
	if r.dir == "" {
		return nil
	}
	var st unix.Statfs_t
	if err := unix.Statfs(r.dir, &st); err != nil {
		return nil // the write will say what is wrong
	}
	free := st.Bavail * uint64(st.Bsize)
	if full := free < reserve; full != r.full {
		r.full = full
		if full {
			r.log.Error("the disk is full: nothing is stored until there is room", "dir", r.dir, "free", free, "needed", reserve)
		} else {
			r.log.Info("the disk has room again", "dir", r.dir, "free", free)
		}
	}
	if r.full {
		return fmt.Errorf("the disk of the hub is full: %d MiB are free, and it needs %d; make room there", free>>20, reserve>>20)
	}
	return nil
}
