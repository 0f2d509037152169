// Package pane is a terminal inside of a screen: the pseudo terminal of a
// command, and what the command has drawn on it.
package pane

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"
	"golang.org/x/sys/unix"
)

// Term is the TERM of a command in a pane.
const Term = "xterm-256color"

// maxInput bounds what a command is sent and does not read: so many keys.
const maxInput = 1 << 12

// Pane is a terminal of a command. Its methods may be called from any goroutine.
type Pane struct {
	command *os.File // the command's side
	own     *os.File
	changed func()
	drained chan struct{} // closed when no more output will come
	input   chan []byte

	mu     sync.Mutex // guards what follows
	em     *vt.Emulator
	reply  io.Closer // ends the emulator's answers
	size   unix.Winsize
	broken error // the emulator has failed
}

// Open returns a pane of a size of at least one cell. changed is called when the
// command has drawn something, and must return at once.
func Open(width, height int, changed func()) (*Pane, error) {
	own, command, err := openPTY()
	if err != nil {
		return nil, fmt.Errorf("open a pseudo terminal: %w; is devpts mounted at /dev/pts?", err)
	}
	p := &Pane{command: command, own: own, changed: changed, drained: make(chan struct{}), input: make(chan []byte, maxInput)}
	p.em = vt.NewEmulator(max(width, 1), max(height, 1))
	p.em.SetScrollbackSize(0) // it is not shown
	p.bound()
	p.reply, _ = p.em.InputPipe().(io.Closer)
	if err := p.Resize(width, height); err != nil {
		return nil, errors.Join(err, own.Close(), command.Close())
	}
	go p.show()
	go p.answer()
	go p.send()
	return p, nil
}

// maxParam bounds the numbers of control sequences: more than a screen has lines or
// columns.
const maxParam = 1 << 15

// bound bounds the numbers of control sequences. The emulator does as often as such a
// number says what it need not do more often than there are cells.
func (p *Pane) bound() {
	for final := '@'; final <= '~'; final++ {
		p.em.RegisterCsiHandler(int(final), func(params ansi.Params) bool {
			most := maxParam // the emulator's lock, and so the pane's, is held
			switch final {
			case 'b': // repeats a character
				most = int(p.size.Col) * int(p.size.Row)
			case 'I', 'Z': // passes tab stops
				most = int(p.size.Col)
			}
			for i, param := range params {
				if param.Param(0) > most {
					params[i] = ansi.Param(most)
				}
			}
			return false // and now do it
		})
	}
}

// Command returns the side of the command. It belongs to the pane.
func (p *Pane) Command() *os.File { return p.command }

// Resize gives the pane and the command's terminal a size.
func (p *Pane) Resize(width, height int) error {
	size := unix.Winsize{Col: uint16(max(width, 1)), Row: uint16(max(height, 1))}
	p.mu.Lock()
	defer p.mu.Unlock()
	if size == p.size {
		return nil
	}
	p.size = size
	p.guarded(func() { p.em.Resize(int(size.Col), int(size.Row)) })
	if err := control(p.own, func(fd int) error { return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &size) }); err != nil {
		return fmt.Errorf("set the size of a pseudo terminal: %w", err)
	}
	return nil
}

// guarded calls fn, which uses the emulator. Whatever a command writes must not
// end the program that shows it: an emulator that fails is not used any more.
func (p *Pane) guarded(fn func()) {
	if p.broken != nil {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			p.broken = fmt.Errorf("what the command writes cannot be shown any more: %v", r)
		}
	}()
	fn()
}

// Broken returns why output is not shown any more, or nil.
func (p *Pane) Broken() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.broken
}

// show takes what the command writes.
func (p *Pane) show() {
	defer close(p.drained)
	buf := make([]byte, 1<<12) // what may be drawn at once: others wait for the lock
	for {
		n, err := p.own.Read(buf)
		if n > 0 {
			p.mu.Lock()
			p.guarded(func() { _, _ = p.em.Write(buf[:n]) })
			p.mu.Unlock()
			p.changed()
		}
		if err != nil {
			return // EIO: nobody has the other side any more
		}
	}
}

// answer takes what the emulator has to say: keys, and answers to questions. It
// always reads, because the emulator waits for it with the lock held.
func (p *Pane) answer() {
	buf := make([]byte, 1<<10)
	for {
		n, err := p.em.Read(buf)
		if err != nil {
			close(p.input)
			return
		}
		select {
		case p.input <- append([]byte(nil), buf[:n]...):
		default: // the command reads nothing
		}
	}
}

// send gives the command its input.
func (p *Pane) send() {
	for b := range p.input {
		if _, err := p.own.Write(b); err != nil {
			for range p.input {
			}
			return
		}
	}
}

// Close closes the pane, once.
func (p *Pane) Close() {
	_ = p.command.Close()
	_ = p.own.Close()
	<-p.drained
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reply != nil {
		_ = p.reply.Close()
	}
}
