package daemon

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// usage is what requests that are under way take.
type usage struct {
	requests int
	bytes    int64 // of memory, about
}

func (u *usage) add(v usage, sign int) {
	u.requests += sign * v.requests
	u.bytes += int64(sign) * v.bytes
}

// fits reports whether there is room for v. What is large may go alone.
func (u *usage) fits(v, most usage) bool {
	return u.requests == 0 || u.requests+v.requests <= most.requests && u.bytes+v.bytes <= most.bytes
}

// budget bounds what the requests under way take: those of a user, and those
// of all users together that may only read. A request for which there is no
// room waits for it.
type budget struct {
	user, readers usage // the limits
	patience      time.Duration

	mu      sync.Mutex // guards what follows
	users   map[uint32]*usage
	all     usage         // of those that only read
	changed chan struct{} // closed when a request has ended; nil if none waits
}

// enter waits until there is room for a request, and returns what gives it
// back.
func (b *budget) enter(ctx context.Context, uid uint32, reader bool, need usage) (leave func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	for {
		wait := b.take(uid, reader, need)
		if wait == nil {
			return sync.OnceFunc(func() { b.give(uid, reader, need) }), nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, fmt.Errorf("the requests of user %d that are under way take as much as they may (%d requests, %d MiB); try again when one has ended",
				uid, b.user.requests, b.user.bytes>>20)
		}
	}
}

// take takes room, or returns a channel that is closed when there is more.
func (b *budget) take(uid uint32, reader bool, need usage) (wait <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	u := b.users[uid]
	if u == nil {
		u = &usage{}
	}
	if !u.fits(need, b.user) || reader && !b.all.fits(need, b.readers) {
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		return b.changed
	}
	if b.users == nil {
		b.users = map[uint32]*usage{}
	}
	b.users[uid] = u
	u.add(need, 1)
	if reader {
		b.all.add(need, 1)
	}
	return nil
}

func (b *budget) give(uid uint32, reader bool, need usage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	u := b.users[uid]
	if u.add(need, -1); u.requests == 0 {
		delete(b.users, uid)
	}
	if reader {
		b.all.add(need, -1)
	}
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}
