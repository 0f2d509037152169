package attach

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/taskwatch/taskwatch/internal/link"
)

// A program array has two banks for the programs behind the first, so that a
// new chain can be put beside the one in use.
const (
	bankSize  = link.MaxStages - 1
	slotCount = 1 + 2*bankSize
)

// bank is where the next chain's second program goes.
func (a *Attachment) bank() int {
	if a.current.second == 1 {
		return 1 + bankSize
	}
	return 1
}

// Swap makes the hook run the given programs, which were linked for bank(), or
// none. The first slot decides; it changes atomically. It returns what was
// there, which the kernel may still be running.
func (a *Attachment) Swap(next []*ebpf.Program) (old Chain, err error) {
	old, second := a.current, a.bank()
	if err := a.Install(Chain{next, second}); err != nil {
		return old, fmt.Errorf("swap the dispatcher of %s: %w", a.Hook.Name, err)
	}
	return old, nil
}

// Chain is a dispatcher in place: its programs, and the slot of the second.
type Chain struct {
	Programs []*ebpf.Program
	second   int
}

// Current returns what is in place. It is not to be closed.
func (a *Attachment) Current() Chain { return a.current }

// Install puts a chain back that Swap has returned.
func (a *Attachment) Install(c Chain) error {
	for i, p := range c.Programs {
		if i > 0 {
			if err := a.slot.Put(uint32(c.second+i-1), p); err != nil {
				return err
			}
		}
	}
	var err error
	if len(c.Programs) > 0 {
		err = a.slot.Put(uint32(0), c.Programs[0])
	} else if err = a.slot.Delete(uint32(0)); errors.Is(err, ebpf.ErrKeyNotExist) {
		err = nil
	}
	if err == nil {
		a.current = c
	}
	return err
}

// Drop frees a chain that is no longer run.
func (a *Attachment) Drop(c Chain) {
	for i, p := range c.Programs {
		if i > 0 && c.second != a.current.second {
			a.slot.Delete(uint32(c.second + i - 1)) // it may hold the last reference
		}
		p.Close()
	}
}
