package watchtest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
)

// HostedLives is a module of the shape Lives in the form in which a
// taskwatch.Registry takes it.
type HostedLives struct {
	Module *taskwatch.Module
	Met    func(what string) uint64

	Settle func()       // returns when the module has dealt with every event; may be nil
	Close  func() error // may be nil
}

// NewCrowd returns an instance over a new taskwatch.Registry, whose modules are made
// by mk. Its tasks are made up, by a source of one goroutine.
func NewCrowd(t testing.TB, mk func(reg *taskwatch.Registry, errno int) *HostedLives) AttachInstance {
	c := &crowd{t: t, make: mk, reg: new(taskwatch.Registry), tell: make(chan bool), told: make(chan struct{}), ended: make(chan struct{})}
	sink := taskwatch.NewSink(nil, func(it taskwatch.Item) {
		if f := it.Failure; f != nil && (f.Kind == taskwatch.Attach || f.Kind == taskwatch.Detach) && f.Event.Task != nil {
			c.failed.Add(1)
		}
	})
	if err := c.reg.Attach(sink); err != nil {
		t.Fatal(err)
	}
	go c.run()
	<-c.told
	t.Cleanup(func() {
		close(c.tell)
		<-c.ended
	})
	return c
}

// crowd is a source, with its registry.
type crowd struct {
	t      testing.TB
	make   func(*taskwatch.Registry, int) *HostedLives
	reg    *taskwatch.Registry
	failed atomic.Uint64

	tell  chan bool // whether there is to be a storm
	told  chan struct{}
	ended chan struct{}

	mu   sync.Mutex // guards made
	made []*HostedLives
}

// crowdStays is how many tasks stay: more than there is room for in the queue of a
// module.
const crowdStays = 5000

// crowdComes is how many others there are at most, however long a storm lasts: fewer
// than a module has room for, in its queue and in its storage.
const crowdComes = 1000

func (c *crowd) Staying() uint64 { return crowdStays }

func (c *crowd) Storm(on bool) {
	c.tell <- on
	<-c.told
}

func (c *crowd) Failed() (uint64, bool) { return c.failed.Load(), true }

// run is the source's goroutine.
func (c *crowd) run() {
	defer close(c.ended)
	s := &crowdSource{feed: c.reg.Feed(), tasks: map[uint64]*taskwatch.Task{}}
	for range crowdStays {
		s.birth()
	}
	s.feed.Follow(s.visit)
	defer s.feed.End()
	c.told <- struct{}{}
	for stormy, n := false, 0; ; n++ {
		s.feed.Pause()
		on, told, ok := stormy, false, true
		if stormy {
			select {
			case on, ok = <-c.tell:
				told = true
			default:
			}
		} else {
			on, ok = <-c.tell
			told = true
		}
		if n%20 == 0 || told {
			c.settle()
		}
		s.feed.Resume()
		if s.visited { // which has filled the queues
			s.visited = false
			c.settle()
		}
		switch {
		case !ok:
			return
		case !on:
			for s.oldest <= s.last {
				s.death()
			}
		case n%3 == 2 || s.last >= s.oldest+crowdComes:
			s.death()
		default:
			s.birth()
			s.notify(taskwatch.Exec, s.tasks[s.last])
		}
		if stormy = on; told {
			s.feed.Pause()
			c.settle()
			s.feed.Resume()
			c.told <- struct{}{}
		}
	}
}

// settle waits until the modules have dealt with all events.
func (c *crowd) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.made {
		if m.Settle != nil {
			m.Settle()
		}
	}
}

// crowdSource makes up what happens to tasks.
type crowdSource struct {
	feed         *taskwatch.Feed
	seq          uint64
	oldest, last uint64 // numbers of tasks that do not stay
	tasks        map[uint64]*taskwatch.Task
	visited      bool // since it was last looked at; guarded by the feed's turn
}

func (s *crowdSource) visit(fn func(*taskwatch.Event)) {
	s.visited = true
	for _, task := range s.tasks {
		fn(&taskwatch.Event{Task: task, Time: time.Now(), Source: "crowd"})
	}
}

func (s *crowdSource) notify(k taskwatch.Kind, task *taskwatch.Task) {
	s.seq++
	_ = s.feed.Notify(&taskwatch.Event{Kind: k, Seq: s.seq, Time: time.Now(), Source: "crowd", Task: task})
}

// birth makes a task. That it has no pid at init does not matter here.
func (s *crowdSource) birth() {
	s.last++
	task := &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: s.last}, PID: int(s.last), TID: int(s.last)}
	s.notify(taskwatch.Init, task)
	s.tasks[s.last] = task
	s.notify(taskwatch.Clone, task)
	if s.last == crowdStays {
		s.oldest = s.last + 1
	}
}

// death ends the oldest task that does not stay.
func (s *crowdSource) death() {
	if s.oldest > s.last {
		return
	}
	task := s.tasks[s.oldest]
	s.notify(taskwatch.Exit, task)
	s.notify(taskwatch.Free, task)
	delete(s.tasks, s.oldest)
	s.oldest++
}

func (c *crowd) Make(errno int) AttachModule {
	m := c.make(c.reg, errno)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made = append(c.made, m)
	return &crowdModule{m, c}
}

type crowdModule struct {
	*HostedLives
	crowd *crowd
}

func (m *crowdModule) Register() error   { return m.crowd.reg.Register(m.Module) }
func (m *crowdModule) Unregister() error { return m.crowd.reg.Unregister(m.Module) }

func (m *crowdModule) Replace(by AttachModule) error {
	return m.crowd.reg.Replace(m.Module, by.(*crowdModule).Module)
}

func (m *crowdModule) Met(what string) uint64 {
	if m.Settle != nil {
		m.Settle()
	}
	return m.HostedLives.Met(what)
}

func (m *crowdModule) Close() error {
	m.crowd.mu.Lock()
	for i, o := range m.crowd.made {
		if o == m.HostedLives {
			m.crowd.made = append(m.crowd.made[:i:i], m.crowd.made[i+1:]...)
			break
		}
	}
	m.crowd.mu.Unlock()
	if m.HostedLives.Close == nil {
		return nil
	}
	return m.HostedLives.Close()
}
