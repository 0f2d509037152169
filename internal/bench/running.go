package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// running is a watcher that has been started.
type running struct {
	w      *Watcher
	cmd    *exec.Cmd
	stdin  io.Closer
	out    *bufio.Reader // of our own
	file   string        // where what it says goes
	p      *programs
	stderr *strings.Builder
	waited bool
}

// start starts the watcher and returns when it watches.
func (w *Watcher) start(ctx context.Context, cfg *Config, p *programs, cpu int) (_ *running, err error) {
	r := &running{w: w, p: p, stderr: &strings.Builder{}, file: filepath.Join(p.dir, "output")}
	defer func() {
		if err != nil {
			r.kill()
			err = fmt.Errorf("bench: %s: %w %s", w.Name, err, strings.TrimSpace(r.stderr.String()))
		}
	}()
	if w.tool != "" {
		return r, r.startTool(ctx, p, cpu)
	}
	args := append(append([]string{}, cfg.Self[1:]...), w.args...)
	if w.toFile {
		args[len(args)-1] += r.file
	}
	args = append(args, string(p.tag))
	if cfg.profile != "" {
		args = append(args, cfg.profile)
	}
	r.cmd = exec.CommandContext(ctx, cfg.Self[0], args...)
	r.cmd.Stderr = r.stderr
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	r.out = bufio.NewReader(stdout)
	if err := start(r.cmd, cpu); err != nil {
		return nil, err
	}
	if line, err := r.out.ReadString('\n'); line != readyLine {
		return nil, errors.Join(errors.New("it ended before it watched"), err)
	}
	return r, nil
}

// during has the watcher watch while do runs, which is given its pid, and
// returns what the watcher has told of.
func (w *Watcher) during(ctx context.Context, cfg *Config, p *programs, cpu int, do func(pid int) error) (*childReport, error) {
	r, err := w.start(ctx, cfg, p, cpu)
	if err != nil {
		return nil, err
	}
	defer r.kill()
	if err := do(r.cmd.Process.Pid); err != nil {
		return nil, err
	}
	return r.stop()
}

// startTool starts a tool and causes events until it tells of one.
func (r *running) startTool(ctx context.Context, p *programs, cpu int) error {
	path, err := r.w.path()
	if err != nil {
		return err
	}
	out, err := os.Create(r.file)
	if err != nil {
		return err
	}
	defer out.Close()
	r.cmd = exec.CommandContext(ctx, path, r.w.args...)
	r.cmd.Stdout, r.cmd.Stderr = out, r.stderr
	if err := start(r.cmd, cpu, mountTracefs); err != nil {
		return err
	}
	said := func() int64 {
		fi, err := out.Stat()
		if err != nil {
			return 0
		}
		return fi.Size()
	}
	for end := time.Now().Add(startTimeout); said() < 4096; time.Sleep(20 * time.Millisecond) {
		if err := p.probe(ctx); err != nil {
			return err
		}
		if time.Now().After(end) {
			return errors.New("it says nothing")
		}
		if ended(r.cmd.Process.Pid) {
			_ = r.wait() // then it has said all
			return r.w.ended(r.stderr.String())
		}
	}
	return nil
}

// stop ends the watcher and returns what it has told of.
func (r *running) stop() (report *childReport, err error) {
	report = &childReport{}
	if r.w.tool != "" {
		_ = r.cmd.Process.Signal(unix.SIGINT)
		_ = r.wait() // its exit status means nothing: it was interrupted
		return report, r.countFile(report)
	}
	_ = r.stdin.Close()
	err = json.NewDecoder(r.out).Decode(report)
	if e := r.wait(); e != nil || err != nil {
		return nil, fmt.Errorf("bench: %s: %w %s", r.w.Name, errors.Join(err, e), r.stderr)
	}
	if r.w.toFile {
		err = r.countFile(report)
	}
	return report, err
}

func (r *running) wait() error {
	r.waited = true
	return r.cmd.Wait()
}

// kill ends a watcher of which nothing more is expected.
func (r *running) kill() {
	if r != nil && r.cmd != nil && r.cmd.Process != nil && !r.waited {
		_ = r.cmd.Process.Kill()
		_ = r.wait()
	}
}

func (r *running) countFile(report *childReport) error {
	f, err := os.Open(r.file)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	count := r.w.lines(r.p)
	for lines.Scan() {
		report.line(lines.Text(), count)
	}
	return lines.Err()
}
