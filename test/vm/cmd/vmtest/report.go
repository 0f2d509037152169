package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taskwatch/taskwatch/test/vm"
)

// modulePath begins the import paths of the packages.
const modulePath = "github.com/taskwatch/taskwatch"

// report is what came out of one machine.
type report struct {
	boot     boot
	err      error // of the machine, or nil
	elapsed  time.Duration
	warnings []string
	console  []byte
	packages []*pkgReport

	diagnosis []byte // what doctor found, JSON
}

// pkgReport is what came out of one test binary.
type pkgReport struct {
	pkg    string
	output []byte // as the binary wrote it
	status int    // its exit status, -1 if it did not end

	passed, failed, skipped int
	failures                []string // names of the failed tests
	skips                   []string // "name: reason"

	running []string          // names of the tests that had begun and had not ended
	tests   map[string]string // as in vm.MachineResult, by name
	times   []testTime        // of tests that are no part of another
}

// testTime is how long a test took.
type testTime struct {
	name string
	took time.Duration
}

func (p *pkgReport) ok() bool { return p.status == 0 && p.failed == 0 }

func (p *pkgReport) reached() bool { return p.status >= 0 || p.output != nil }

// problem says in a few words what is wrong, or "" if nothing is. A binary that was
// ended by something else than a test has no failed test, but one that had begun.
func (p *pkgReport) problem() string {
	var words string
	switch {
	case p.ok():
		return ""
	case !p.reached():
		return p.pkg + " not reached"
	case p.status < 0:
		words = p.pkg + " did not end"
	default:
		words = "FAIL " + p.pkg
	}
	if len(p.failures) > 0 {
		words += ": " + strings.Join(p.failures, ", ")
	} else if p.status > 0 {
		words += fmt.Sprintf(", exit status %d", p.status)
	}
	if len(p.running) > 0 {
		words += " (in " + strings.Join(p.running, ", ") + ")"
		if last := p.lastWords(); last != "" {
			words += ": " + last
		}
	}
	return words
}

// lastWords returns the line in which Go's runtime says why it gave up, or else the
// last line of the output.
func (p *pkgReport) lastWords() (last string) {
	for line := range bytes.Lines(p.output) {
		line = bytes.TrimSpace(bytes.Trim(line, "\x16"))
		for _, begin := range []string{"panic: ", "fatal error: ", "runtime: ", "SIG"} {
			if bytes.HasPrefix(line, []byte(begin)) {
				return string(line)
			}
		}
		if len(line) > 0 {
			last = string(line)
		}
	}
	return last
}

func (r *report) ran() (n int) {
	for _, p := range r.packages {
		n += p.passed + p.failed
	}
	return n
}

// problem says in a few words what is wrong, or "" if nothing is.
func (r *report) problem() string {
	if r.err != nil {
		return r.err.Error()
	}
	var bad []string
	for _, p := range r.packages {
		if problem := p.problem(); problem != "" {
			bad = append(bad, problem)
		}
	}
	if len(bad) > 0 {
		return strings.Join(bad, "; ")
	}
	if r.ran() == 0 {
		return "no test ran"
	}
	return ""
}

// result returns what a file of results keeps.
func (r *report) result() vm.MachineResult {
	m := vm.MachineResult{
		Arch: r.boot.kernel.Arch, Series: r.boot.kernel.Series, LSM: r.boot.variant.name, Params: r.boot.params,
		Package: r.boot.kernel.String(), Problem: r.problem(), Diagnosis: r.diagnosis, Tests: map[string]string{},
	}
	if r.boot.preempt != "" {
		m.Params = strings.TrimSpace("preempt=" + r.boot.preempt + " " + m.Params)
	}
	for _, p := range r.packages {
		m.Passed += p.passed
		m.Skipped += p.skipped
		for name, what := range p.tests {
			m.Tests[strings.TrimPrefix(p.pkg, modulePath+"/")+" "+name] = what
		}
	}
	return m
}

// diagnosisIn finds what doctor found in the guest's output.
func diagnosisIn(output []byte) []byte {
	_, rest, ok := bytes.Cut(output, []byte("\n"+diagnosisMark))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	if line = bytes.TrimSpace(line); !ok || !json.Valid(line) {
		return nil
	}
	return line
}

// parse takes the guest's output apart.
func (r *report) parse(ctx context.Context, output []byte, s *suite) error {
	for _, bin := range s.binaries {
		p := &pkgReport{pkg: bin.pkg, status: -1}
		r.packages = append(r.packages, p)
		_, rest, ok := bytes.Cut(output, []byte(beginMark+bin.pkg+"\n"))
		if !ok {
			continue // not reached
		}
		text, after, ended := bytes.Cut(rest, []byte("\n"+endMark))
		output = after
		p.output = text
		if ended {
			line, _, _ := bytes.Cut(after, []byte("\n"))
			status, err := strconv.Atoi(string(line))
			if err != nil {
				return fmt.Errorf("%s: bad exit status %q", bin.pkg, line)
			}
			p.status = status
		}
		if err := p.count(ctx); err != nil {
			return err
		}
	}
	return nil
}

// testEvent is what we need of a line of go tool test2json.
type testEvent struct {
	Action  string
	Test    string
	Output  string
	Elapsed float64 // seconds
}

// count has Go's own converter read the output.
func (p *pkgReport) count(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "tool", "test2json", "-t") // with times
	cmd.Stdin = bytes.NewReader(p.output)
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go tool test2json: %w", err)
	}
	said := map[string]string{}
	p.tests = map[string]string{}
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var ev testEvent
		if err := dec.Decode(&ev); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("go tool test2json: %w", err)
		}
		if ev.Test == "" {
			continue
		}
		switch ev.Action {
		case "pass", "fail", "skip":
			p.running = slices.DeleteFunc(p.running, func(name string) bool { return name == ev.Test })
		}
		switch ev.Action {
		case "output":
			if !strings.HasPrefix(ev.Output, "=== ") && !strings.Contains(ev.Output, "--- SKIP") {
				said[ev.Test] += ev.Output
			}
		case "run":
			p.running = append(p.running, ev.Test)
		case "pass":
			p.passed++
			p.tests[ev.Test] = vm.Pass
			if !strings.Contains(ev.Test, "/") {
				p.times = append(p.times, testTime{ev.Test, time.Duration(ev.Elapsed * float64(time.Second))})
			}
		case "fail":
			p.failed++
			p.failures = append(p.failures, ev.Test)
			p.tests[ev.Test] = vm.Fail
		case "skip":
			p.skipped++
			reason := strings.Join(strings.Fields(said[ev.Test]), " ")
			p.skips = append(p.skips, ev.Test+": "+reason)
			p.tests[ev.Test] = reason
		}
	}
}

// slowest names the tests that took the longest, and more than a second.
func (r *report) slowest() (list []string) {
	var times []testTime
	for _, p := range r.packages {
		times = append(times, p.times...)
	}
	slices.SortFunc(times, func(a, b testTime) int { return cmp.Compare(b.took, a.took) })
	for _, t := range times[:min(len(times), 20)] {
		if t.took > time.Second {
			list = append(list, fmt.Sprintf("%s %.0f s", t.name, t.took.Seconds()))
		}
	}
	return list
}

// print writes the results of one machine: everything if verbose, else what
// failed, what was skipped and what was slow.
func (r *report) print(w io.Writer, verbose bool) {
	fmt.Fprintf(w, "=== %v, %v\n", r.boot, r.elapsed.Round(100*time.Millisecond))
	for _, p := range r.packages {
		word := "ok  "
		switch {
		case !p.reached():
			word = "not reached"
		case p.status < 0:
			word = "did not end"
		case !p.ok():
			word = "FAIL"
		}
		fmt.Fprintf(w, "%s %s: %d passed, %d failed, %d skipped", word, p.pkg, p.passed, p.failed, p.skipped)
		if p.status > 0 {
			fmt.Fprintf(w, ", exit status %d", p.status)
		}
		fmt.Fprintln(w)
		for _, name := range p.failures {
			fmt.Fprintf(w, "    failed: %s\n", name)
		}
		for _, skip := range p.skips {
			fmt.Fprintf(w, "    skipped: %s\n", skip)
		}
		if p.output != nil && (verbose || !p.ok()) {
			// test2json marks its lines with a control character.
			w.Write(bytes.ReplaceAll(p.output, []byte{0x16}, nil))
			fmt.Fprintln(w)
		}
	}
	if slow := r.slowest(); len(slow) > 0 {
		fmt.Fprintf(w, "slowest: %s\n", strings.Join(slow, ", "))
	}
	for _, line := range r.warnings {
		fmt.Fprintf(w, "the kernel says: %s\n", line)
	}
	if r.err != nil {
		fmt.Fprintln(w, r.err)
	}
	// Where something else than a test ended the binaries, the kernel may have said what.
	if r.err != nil || slices.ContainsFunc(r.packages, func(p *pkgReport) bool { return len(p.running) > 0 || !p.reached() }) {
		fmt.Fprintf(w, "end of the console:\n%s\n", tail(r.console, 60))
	}
}

// tail returns the last n lines.
func tail(text []byte, n int) []byte {
	lines := bytes.SplitAfter(bytes.TrimRight(text, "\r\n"), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-n):], nil)
}

// summarize prints one line per machine and reports whether all is well.
func summarize(w io.Writer, reports []*report) bool {
	good := 0
	fmt.Fprintln(w, "=== summary")
	for _, r := range reports {
		var passed, failed, skipped int
		for _, p := range r.packages {
			passed += p.passed
			failed += p.failed
			skipped += p.skipped
		}
		word := "ok"
		if problem := r.problem(); problem != "" {
			word, _, _ = strings.Cut(problem, "\n")
		} else {
			good++
		}
		fmt.Fprintf(w, "%v: %d passed, %d failed, %d skipped: %s\n", r.boot, passed, failed, skipped, word)
	}
	fmt.Fprintf(w, "%d of %d machines ok\n", good, len(reports))
	return good == len(reports)
}
