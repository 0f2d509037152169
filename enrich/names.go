package enrich

import (
	"context"
	"sync"
	"time"
)

const (
	// maxContainers limits how many containers are remembered.
	maxContainers = 4096
	// lookupTime limits the time of one query to a runtime.
	lookupTime = 3 * time.Second
	// askAgain is the time until a runtime that did not know a container is
	// queried again: a container may run before its runtime knows it.
	askAgain = 2 * time.Second
	// maxWaiting limits the queries that wait. Further ones are made at later
	// events.
	maxWaiting = 256
)

// Names looks up the names of containers and of their users. Its methods return
// immediately. What is unknown is queried in the background, once for each
// container. The answer is kept after the container has gone, until there are
// too many.
//
// It is made by [NewNames] and ended by Close. All methods may be called from
// any goroutine.
type Names struct {
	runtimes []Runtime
	cancel   context.CancelFunc
	ctx      context.Context
	ask      chan string
	done     sync.WaitGroup
	users    users

	mu    sync.Mutex // guards known
	known map[string]*lookup
}

// lookup is what the runtimes say of a container, as far as they were asked.
type lookup struct {
	container Container
	found     bool
	asking    bool
	again     time.Time
}

// NewNames returns a Names that queries these runtimes.
func NewNames(runtimes ...Runtime) *Names {
	n := &Names{runtimes: runtimes, ask: make(chan string, maxWaiting), known: map[string]*lookup{}}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.done.Go(n.work)
	return n
}

// Of returns what is known about a container.
func (n *Names) Of(id string) (Container, bool) {
	if id == "" || len(n.runtimes) == 0 {
		return Container{}, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.known[id]
	if e == nil {
		if len(n.known) >= maxContainers {
			n.known = map[string]*lookup{}
		}
		e = new(lookup)
		n.known[id] = e
	}
	if !e.found && !e.asking && time.Now().After(e.again) {
		select {
		case n.ask <- id:
			e.asking = true
		default:
		}
	}
	return e.container, e.found
}

// User returns the name that a container has for a user, who is given by the id
// of this machine, from the container's own /etc/passwd, or the id as a text if
// that names nobody. It is found through pid, a process in the container, while
// that runs. The container decides what the name is: it proves nothing.
func (n *Names) User(id string, pid int, uid uint32) (string, bool) {
	if id == "" || pid <= 0 {
		return "", false
	}
	return n.users.of(id, pid, uid)
}

func (n *Names) work() {
	for {
		select {
		case <-n.ctx.Done():
			return
		case id := <-n.ask:
			c, found := n.lookup(id)
			n.mu.Lock()
			if e := n.known[id]; e != nil {
				e.asking, e.again = false, time.Now().Add(askAgain)
				if found {
					e.container, e.found = c, true
				}
			}
			n.mu.Unlock()
		}
	}
}

func (n *Names) lookup(id string) (Container, bool) {
	for _, r := range n.runtimes {
		ctx, cancel := context.WithTimeout(n.ctx, lookupTime)
		c, err := r.Lookup(ctx, id)
		cancel()
		if err == nil {
			return c, true
		}
	}
	return Container{}, false
}

// Close stops the queries. It does not wait for a file of users that is being
// read.
func (n *Names) Close() {
	n.cancel()
	n.done.Wait()
}
