package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/gdamore/tcell/v3"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/top"
)

// display draws a view of a model on the terminal, and gives it the keys. It
// draws when something has changed, at most once a frame.
type display struct {
	ctx   context.Context
	sink  *top.Sink
	view  *top.View // used inside of sink.With only
	pacer *pacer    // of a recording; else nil
	clock func() int64
	over  func() string // says how the source has ended

	below *commandPane // or nil

	wake    chan struct{} // something has changed
	notes   chan string
	leaving chan struct{}  // closed when the screen is to end with the source
	resumed chan os.Signal // SIGCONT
	open    func() (tcell.Screen, error)
	term    tcell.Screen
}

// A frame is the least time between two drawings, a tick the time after which
// rates are looked at again while nothing happens, until they are 0.
const (
	frame = 100 * time.Millisecond
	tick  = time.Second

	quickFrame = frame / 4 // while somebody types into a pane
)

func newDisplay(ctx context.Context, fields taskwatch.Fields, recorded bool) *display {
	s := &display{ctx: ctx, wake: make(chan struct{}, 1), notes: make(chan string, 16), leaving: make(chan struct{}), open: newScreen}
	model := top.NewModel()
	s.view = top.NewView(model, "")
	s.sink = top.NewSink(model, s.changed, recorded, fields)
	return s
}

// nameContainers has the names of containers shown, of what happens now. Call it
// before the first item.
func (s *display) nameContainers() {
	s.sink.With(func(m *top.Model) { m.Names = containerNames() })
}

// changed says that something is to be drawn.
func (s *display) changed() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// tell shows a message, or an error.
func (s *display) tell(text string, err error) {
	if err != nil {
		text = err.Error()
	}
	select {
	case s.notes <- text:
	default: // there are many, and only the last ones are seen
	}
}

// scan has the model know the processes of the machine.
func (s *display) scan() (err error) {
	s.sink.With(func(m *top.Model) { err = m.Scan() })
	return err
}

// run has a source run, and shows it until a key or a signal ends it. It returns
// the source's error. close gives back what a source has that is not run.
func (s *display) run(source func(context.Context) error, close func() error) (err error) {
	if s.term, err = s.open(); err == nil {
		err = s.term.Init()
	}
	if err != nil {
		_ = close()
		return fmt.Errorf("the terminal cannot be used: %w; 'taskwatch watch' and 'taskwatch replay FILE' need none", err)
	}
	defer s.term.Fini() // after a panic as well
	covered.Store(s)
	defer covered.Store(nil)
	ctx, cancel := context.WithCancel(s.ctx)
	done := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				s.term.Fini()
				panic(r)
			}
		}()
		done <- source(ctx)
	}()
	ended, err := s.loop(done)
	cancel()
	if s.pacer != nil {
		s.pacer.end()
	}
	if !ended {
		err = <-done
	}
	return err
}

// loop returns when a key or a signal ends it, or the source fails.
func (s *display) loop(done chan error) (ended bool, err error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGTSTP)
	if s.below == nil { // with a command, it is for the command
		signal.Notify(signals, unix.SIGQUIT)
	}
	defer signal.Stop(signals)
	s.resumed = make(chan os.Signal, 1)
	signal.Notify(s.resumed, unix.SIGCONT)
	defer signal.Stop(s.resumed)
	next, quiet := time.NewTimer(0), time.NewTimer(time.Hour)
	quiet.Stop() // until something has happened
	defer next.Stop()
	defer quiet.Stop()
	drawn := time.Time{}
	due := true // next will fire
	draw := func() {
		if !due {
			due = true
			pause := frame
			if s.below.focused() {
				pause = quickFrame
			}
			next.Reset(time.Until(drawn.Add(pause)))
		}
	}
	leaving := s.leaving
	for {
		wake := s.wake
		if due {
			wake = nil // it is drawn anyway
		}
		select {
		case <-s.ctx.Done():
			return ended, nil
		case err := <-done:
			if err != nil {
				return true, err
			}
			ended, done = true, nil
			if leaving == nil {
				return ended, nil
			}
			s.sink.With(func(*top.Model) { s.view.Source += ": " + s.over() })
			s.below.end()
			draw()
		case <-leaving:
			if leaving = nil; ended {
				return ended, nil
			}
		case note := <-s.notes:
			s.sink.With(func(*top.Model) { s.view.Message = note })
			draw()
		case <-wake:
			draw()
		case <-quiet.C:
			s.sink.Advance(s.clock())
			if !s.settled() {
				quiet.Reset(tick)
			}
		case <-next.C:
			due = false
			drawn = time.Now()
			s.draw()
			if s.clock != nil && !s.settled() {
				quiet.Reset(tick)
			}
		case sig := <-signals:
			s.caught(sig)
			s.draw()
		case <-s.resumed:
			s.again() // a shell may have changed the terminal
			s.draw()
		case ev, ok := <-s.term.EventQ():
			if !ok {
				return ended, nil
			}
			if leave, err := s.input(ev, draw); leave || err != nil {
				return ended, err
			}
		}
	}
}

// caught does what a signal is for.
func (s *display) caught(sig os.Signal) {
	switch sig {
	case unix.SIGQUIT:
		s.term.Fini() // the run time writes what each goroutine does
		signal.Reset(unix.SIGQUIT)
		_ = unix.Kill(unix.Getpid(), unix.SIGQUIT) // cannot fail
		select {}
	case unix.SIGTSTP:
		s.stop()
	}
}

// input does what the terminal asks for, and reports whether that ends the loop.
// soon has it drawn soon.
func (s *display) input(ev tcell.Event, soon func()) (leave bool, err error) {
	switch ev := ev.(type) {
	case *tcell.EventResize:
		s.tellError(s.below.fit(s.term.Size()))
		s.draw()
		s.term.Sync()
	case *tcell.EventError:
		return false, fmt.Errorf("the terminal cannot be read any more: %w", ev)
	case *tcell.EventKey:
		if !s.below.takes(ev) && s.press(ev) && !s.below.stays() {
			return true, nil
		}
		soon()
	}
	return false, nil
}

// stop stops taskwatch, as Ctrl-Z does with others, and returns when it goes on.
func (s *display) stop() {
	_ = s.term.Suspend()
	stopSelf()
	select { // in its turn it would suspend the screen once more, and what is typed then would be lost
	case <-s.resumed:
	case <-time.After(time.Second): // a tracer has it
	}
	s.again()
}

// tellError shows an error, if there is one.
func (s *display) tellError(err error) {
	if err != nil {
		s.tell("", err)
	}
}

func (s *display) again() {
	_ = s.term.Suspend()
	if err := s.term.Resume(); err != nil {
		s.tell("", err)
	}
	s.term.Sync()
}

func (s *display) settled() (settled bool) {
	s.sink.With(func(m *top.Model) { settled = m.Settled() })
	return settled
}

// press takes a key, and reports whether it ends the screen.
func (s *display) press(ev *tcell.EventKey) (quit bool) {
	ctrl := func(letter string, key tcell.Key) bool {
		return ev.Key() == key || ev.Key() == tcell.KeyRune && ev.Modifiers()&tcell.ModCtrl != 0 && ev.Str() == letter
	}
	var keys []top.Key
	switch named, ok := topKeys[ev.Key()]; {
	case ctrl("c", tcell.KeyCtrlC):
		return true
	case ctrl("z", tcell.KeyCtrlZ):
		s.stop()
		return false
	case ctrl("l", tcell.KeyCtrlL):
		s.term.Sync()
		return false
	case ctrl("u", tcell.KeyCtrlU):
		keys = append(keys, top.ClearLine)
	case ok:
		keys = append(keys, named)
	case ev.Key() == tcell.KeyRune && ev.Modifiers()&^tcell.ModShift == 0:
		for _, r := range ev.Str() {
			keys = append(keys, top.Key(r))
		}
	}
	for _, k := range keys {
		var a top.Action
		var paused bool
		s.sink.With(func(*top.Model) {
			a = s.view.Press(k)
			paused = s.view.Paused
		})
		if s.pacer != nil {
			s.pacer.pause(paused)
		}
		if a.Copy != "" {
			s.term.SetClipboard([]byte(a.Copy))
		}
		if a.Quit {
			return true
		}
	}
	return false
}

var topKeys = map[tcell.Key]top.Key{
	tcell.KeyUp: top.Up, tcell.KeyDown: top.Down, tcell.KeyLeft: top.Left, tcell.KeyRight: top.Right, tcell.KeyPgUp: top.PageUp, tcell.KeyPgDn: top.PageDown,
	tcell.KeyHome: top.Home, tcell.KeyEnd: top.End, tcell.KeyTab: top.TabKey, tcell.KeyBacktab: top.BackTab,
	tcell.KeyEnter: top.Enter, tcell.KeyEsc: top.Escape,
	tcell.KeyBackspace: top.Backspace, tcell.KeyBackspace2: top.Backspace,
}

// draw puts the view on the terminal. What is there already is not sent again.
func (s *display) draw() {
	width, height := s.term.Size()
	to := &top.Screen{CursorX: -1, CursorY: -1}
	if height = s.below.above(height); height > 0 {
		s.sink.With(func(*top.Model) { to = s.view.Draw(width, height) })
	}
	s.term.Clear()
	for y, cells := range to.Cells {
		for x, c := range cells {
			if c.Text != "" {
				s.term.Put(x, y, clean.Text(c.Text), styles[c.Style])
			}
		}
	}
	if x, y, ok := s.below.draw(s.term); ok {
		s.term.ShowCursor(x, y)
	} else {
		s.term.ShowCursor(to.CursorX, to.CursorY)
	}
	s.term.Show()
}

// The terminal's own colours, so that it is as light or dark as its user likes.
// NO_COLOR leaves the attributes.
var styles = [top.NumStyles]tcell.Style{
	top.Title:  tcell.StyleDefault.Bold(true),
	top.Head:   tcell.StyleDefault.Reverse(true),
	top.Active: tcell.StyleDefault.Reverse(true).Bold(true),
	top.Cursor: tcell.StyleDefault.Background(tcell.PaletteColor(4)).Foreground(tcell.PaletteColor(15)),
	top.Faint:  tcell.StyleDefault.Dim(true),
	top.Born:   tcell.StyleDefault.Foreground(tcell.PaletteColor(2)),
	top.Died:   tcell.StyleDefault.Dim(true),
	top.Bad:    tcell.StyleDefault.Foreground(tcell.PaletteColor(1)),
	top.Note:   tcell.StyleDefault.Bold(true),
}
