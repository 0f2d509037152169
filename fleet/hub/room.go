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
	free, known := r.free()
	if !known {
		return nil // the write will say what is wrong
	}
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

// fits returns an error unless the disk has room for so many bytes.
func (r *room) fits(bytes uint64) error {
	if free, known := r.free(); known && free < reserve+bytes {
		return fmt.Errorf("the disk of the hub has %d MiB free, and it would need %d; make room there, remove recordings, or keep less (--record-size)", free>>20, (reserve+bytes)>>20)
	}
	return nil
}

// free returns how many bytes are free, and whether that is known.
func (r *room) free() (uint64, bool) {
	var st unix.Statfs_t
	if r.dir == "" || unix.Statfs(r.dir, &st) != nil {
		return 0, false
	}
	return st.Bavail * uint64(st.Bsize), true
}
