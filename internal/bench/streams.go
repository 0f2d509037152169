package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/sys"
)

// streamsWanted is what a daemon's clients want: streams by their queries. Events are
// counted as they come in the first one.
type streamsWanted struct {
	Socket  string   `json:"socket,omitempty"`
	Queries []string `json:"queries"`
}

// args returns the arguments of a watcher with these streams.
func (s streamsWanted) args(mode string) []string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // it has strings only
	}
	return []string{mode + "=" + string(text)}
}

// toStreams is a daemon with streams, which another process reads: what this one uses
// is the daemon's.
func toStreams(o order) (_ *childReport, err error) {
	var wanted streamsWanted
	if err := json.Unmarshal([]byte(o.arg), &wanted); err != nil {
		return nil, fmt.Errorf("bench: the streams: %w", err)
	}
	dir, err := os.MkdirTemp("", "taskwatch-bench-")
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	wanted.Socket = filepath.Join(dir, "socket")
	var log bytes.Buffer
	watching := make(chan struct{})
	d, err := daemon.New(daemon.Config{
		Socket: wanted.Socket, Source: "bpf", OnReady: func() { close(watching) }, Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		return nil, fmt.Errorf("%w %s", err, &log)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	defer func() {
		cancel()
		err = errors.Join(err, <-ended)
	}()
	select {
	case err := <-ended:
		ended <- nil
		return nil, fmt.Errorf("bench: the daemon has ended: %w %s", err, &log)
	case <-watching:
	}
	return wanted.read(&o)
}

// read has another process read the streams until stop, and returns what it reports.
func (s streamsWanted) read(o *order) (*childReport, error) {
	reader := exec.Command(procfs.Self, append(append(append([]string{}, o.self...), s.args("read")...), string(o.tag))...)
	reader.Stderr = os.Stderr
	stdin, err := reader.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := reader.StdoutPipe()
	if err != nil {
		return nil, err
	}
	defer endsWithUs(reader)()
	if err := reader.Start(); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	out := bufio.NewReader(stdout)
	line, err := out.ReadString('\n')
	if line == readyLine {
		o.ready()
		ctx, cancel := o.context()
		defer cancel()
		<-ctx.Done()
	}
	_ = stdin.Close()
	report := &childReport{}
	return report, errors.Join(err, json.NewDecoder(out).Decode(report), reader.Wait())
}

// readStreams reads the streams of a daemon until stop.
func readStreams(o order) (*childReport, error) {
	var wanted streamsWanted
	if err := json.Unmarshal([]byte(o.arg), &wanted); err != nil {
		return nil, fmt.Errorf("bench: the streams: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	report := &childReport{}
	var all sync.WaitGroup
	for i, text := range wanted.Queries {
		query, err := url.ParseQuery(text)
		if err != nil {
			return nil, fmt.Errorf("bench: %w", err)
		}
		client := daemon.NewClient(wanted.Socket)
		defer client.Close()
		body, err := client.Lines(ctx, query)
		if err != nil {
			return nil, err
		}
		defer body.Close()
		lines := bufio.NewReaderSize(body, 256<<10)
		if _, err := lines.ReadString('\n'); err != nil { // from now on the events are complete
			return nil, fmt.Errorf("bench: stream %d: %w", i+1, err)
		}
		all.Go(func() {
			if i > 0 {
				_, _ = io.Copy(io.Discard, lines) // until the end
				return
			}
			report.read(lines, o.tag)
			cancel()
		})
	}
	o.ready()
	<-o.stop
	defer time.AfterFunc(startTimeout, cancel).Stop()
	o.tag.markUntil(ctx.Done())
	all.Wait()
	return report, nil
}

// marking is the name of tasks that only show how far a stream has come, and markEvery is
// how far apart they are made.
const (
	marking   = "mark"
	markEvery = 100 * time.Millisecond
)

// markUntil makes such tasks until done: what happened before is told before them.
func (t tag) markUntil(done <-chan struct{}) {
	name := string(t) + marking
	for {
		go sys.OnThread(func() { _ = sys.SetName(name) }) // and ends
		select {
		case <-done:
			return
		case <-time.After(markEvery):
		}
	}
}

// mostMarks is how many marks are waited for frees that may be among what is lost.
const mostMarks = 50

// read counts the events and the losses of a stream until its end, or until it has come
// to a mark, and to the free of each task that is counted. Frees take their time where
// the machine is busy.
func (r *childReport) read(lines *bufio.Reader, t tag) {
	count := jsonLines(&programs{tag: t})
	mark := fmt.Sprintf(`"comm":"%s%s"`, t, marking)
	for marks := 0; marks == 0 || !r.freed() && (r.Lost == 0 || marks < mostMarks); {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		switch {
		case r.line(strings.TrimSpace(line), count):
			marks = min(marks, 1)
		case strings.HasPrefix(line, `{"event":"exit"`) && strings.Contains(line, mark):
			marks++
		}
	}
}

// freed reports whether as many tasks of the loads were freed as have ended.
func (r *childReport) freed() bool {
	for _, n := range r.Seen {
		if n[taskwatch.Free] < n[taskwatch.Exit] {
			return false
		}
	}
	return true
}
