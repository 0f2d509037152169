package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/record"
)

// logged returns the items of a log.
func logged(t testing.TB, name string) (list []taskwatch.Item) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r := record.NewReader(bytes.NewReader(text), name)
	for {
		it, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		list = append(list, it.Clone())
	}
}

// seqs returns the numbers of the events among items.
func seqs(list []taskwatch.Item) (out []uint64) {
	for _, it := range list {
		if it.Event != nil {
			out = append(out, it.Event.Seq)
		}
	}
	return out
}

// A log has what was asked for, from the start to the end of the daemon, and
// nobody else may read it. The next daemon goes on behind it.
func TestLog(t *testing.T) {
	dir := openDir(t)
	name, text := filepath.Join(dir, "log.jsonl"), filepath.Join(dir, "log.txt")
	logs := []LogConfig{
		{File: name, Events: []string{"exec", "exit"}, Where: `comm == "chosen"`},
		{File: text, Format: LogText, Group: "65534"},
	}
	want := []uint64{}
	for round := range 2 {
		a := perform()
		r := start(t, Config{Open: a.src.open(nil), Logs: logs})
		for i := range 100 {
			a.event(taskwatch.Exec, 9, 1, func(ev *taskwatch.Event) {
				if ev.Task.Argv = []string{"/bin/program", fmt.Sprint(i)}; i%2 == 0 {
					ev.Task.Comm = "chosen"
					want = append(want, ev.Seq)
				}
			})
		}
		a.settle()
		r.stop(t)
		list := logged(t, name)
		if got := seqs(list); !slices.Equal(got, want) {
			t.Errorf("round %d: events %v, want %v", round, got, want)
		}
		if list[0].Start == nil {
			t.Errorf("it begins with %+v", list[0])
		}
	}
	if b, err := os.ReadFile(text); err != nil || strings.Count(string(b), "/bin/program") != 200 {
		t.Errorf("the text is %v\n%.500s", err, b)
	}
	for file, mode := range map[string]os.FileMode{name: 0o600, text: 0o640} {
		st, err := os.Stat(file)
		if err != nil || st.Mode() != mode {
			t.Errorf("%s: %v, %v", file, st.Mode(), err)
		}
		if gid := st.Sys().(*syscall.Stat_t).Gid; mode == 0o640 && gid != 65534 {
			t.Errorf("%s has the group %d", file, gid)
		}
	}
}

// A log lacks the values that it is not to have.
func TestLogHidesValues(t *testing.T) {
	dir := openDir(t)
	logs := []LogConfig{
		{File: filepath.Join(dir, "names"), Env: "names"},
		{File: filepath.Join(dir, "secret"), EnvRedact: "^(KEY|URL)=.*[0-9]"},
		{File: filepath.Join(dir, "all")},
	}
	for i := range logs {
		logs[i].Events, logs[i].Fields = []string{"exec"}, []string{"env"}
	}
	a := perform()
	r := start(t, Config{Open: a.src.open(nil), Logs: logs})
	a.event(taskwatch.Exec, 9, 1, func(ev *taskwatch.Event) {
		ev.Extra = &taskwatch.Extra{Given: taskwatch.FieldEnv, Env: []string{"KEY=s3cret", "URL=none", "A=1"}}
	})
	a.settle()
	r.stop(t)
	for i, want := range [][]string{{"KEY", "URL", "A"}, {"KEY=[redacted]", "URL=none", "A=1"}, {"KEY=s3cret", "URL=none", "A=1"}} {
		var got []string
		for _, it := range logged(t, logs[i].File) {
			if it.Event != nil {
				got = it.Event.Extra.Env
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", logs[i].File, got, want)
		}
	}
}

// A log that is rotated by its size, by others with a reload, and by others
// without, has all events, in its order.
func TestLogIsRotated(t *testing.T) {
	dir := openDir(t)
	name := filepath.Join(dir, "log.jsonl")
	logs := []LogConfig{{File: name, MaxSize: 20_000, Events: []string{"exec"}}}
	a := perform()
	r := start(t, Config{Open: a.src.open(nil), Logs: logs})
	rounds := testutil.Size(10, 30, 300)
	var others []string
	for i := range rounds {
		for range 100 {
			a.event(taskwatch.Exec, 9, 1, nil)
		}
		others = append(others, fmt.Sprintf("%s-%d", name, i))
		if err := os.Rename(name, others[i]); err != nil {
			if errors.Is(err, os.ErrNotExist) { // it is being rotated
				others[i] = ""
				continue
			}
			t.Fatal(err)
		}
		var err error
		if i%2 == 0 {
			err = r.ReloadLogs(t.Context(), logs)
		} else {
			err = os.WriteFile(name, nil, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	a.settle()
	r.stop(t)
	files, err := filepath.Glob(name + "*")
	if err != nil {
		t.Fatal(err)
	}
	var all []uint64
	for _, file := range files {
		list := logged(t, file)
		if len(list) > 0 && list[0].Start == nil {
			t.Errorf("%s begins with %+v", file, list[0])
		}
		all = append(all, seqs(list)...)
	}
	slices.Sort(all)
	if len(all) != rounds*100 {
		t.Fatalf("%d events of %d", len(all), rounds*100)
	}
	for i, seq := range all {
		if seq != uint64(i+1) {
			t.Fatalf("event %d is in the place of event %d", seq, i+1)
		}
	}
}

// metric returns the value of a series.
func (r *running) metric(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(r.Daemon.collector())
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == name && slices.EqualFunc(labels, m.Label, func(want string, l *dto.LabelPair) bool { return l.GetName()+"="+l.GetValue() == want }) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("there is no %s%v", name, labels)
	return 0
}

// A log whose configuration changes again and again in the middle of a storm
// misses nothing.
func TestLogIsChanged(t *testing.T) {
	name := filepath.Join(openDir(t), "log.jsonl")
	logs := func(i int) []LogConfig {
		c := LogConfig{File: name, Events: []string{"exec"}, Sync: logSyncs[i%2]}
		if i%3 == 0 {
			c.Events = []string{"exec", "exit"}
		}
		if i%4 == 0 {
			c.Where = "uid == 0"
		}
		return []LogConfig{c}
	}
	a := perform()
	r := start(t, Config{Open: a.src.open(nil), Logs: logs(0)})
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
				for range 20 { // no more than the queue holds while the machine is busy
					a.event(taskwatch.Exec, 9, 1, nil)
				}
				time.Sleep(time.Millisecond)
			}
		}
	}()
	rounds := testutil.Size(20, 50, 500)
	for i := range rounds {
		if err := r.ReloadLogs(t.Context(), logs(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	<-ended
	a.settle()
	r.stop(t)
	list := logged(t, name)
	starts := 0
	for _, it := range list {
		if it.Start != nil {
			starts++
		}
		if it.Loss != nil {
			t.Errorf("a loss: %+v", it.Loss)
		}
	}
	if starts != rounds+1 {
		t.Errorf("%d starts, want %d", starts, rounds+1)
	}
	got := seqs(list)
	for i, seq := range got {
		if seq != uint64(i+1) {
			t.Fatalf("event %d is in the place of event %d", seq, i+1)
		}
	}
	if want := int(a.seq) - 1; len(got) != want { // the last one is settle's
		t.Errorf("%d events, want %d", len(got), want)
	}
}

// A full disk costs the items for which there is no room, no line is torn, and
// the log says how many were lost once there is room again; or it stops, or the
// daemon ends.
func TestLogOnAFullDisk(t *testing.T) {
	testutil.Root(t)
	for _, what := range []string{LogDrop, LogStop, LogEnd} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
				testutil.NeedsRoot.Skip(t, fmt.Sprintf("mount: %v", err))
			}
			t.Cleanup(func() {
				if err := unix.Unmount(dir, 0); err != nil {
					t.Error(err)
				}
			})
			name := filepath.Join(dir, "log.jsonl")
			ballast := filepath.Join(dir, "ballast")
			if err := os.WriteFile(ballast, make([]byte, 32<<10), 0o600); err != nil {
				t.Fatal(err)
			}
			a := perform()
			logs := []LogConfig{{File: name, Events: []string{"exec"}, OnFull: what}}
			r := start(t, Config{Open: a.src.open(nil), Logs: logs})
			const many = 500 // of 300 bytes each: more than there is room for
			if what == LogEnd {
				for sent := 0; sent < many; sent++ { // the source ends meanwhile, and takes no more then
					a.seq++
					ev := &taskwatch.Event{Kind: taskwatch.Exec, Seq: a.seq, Task: &taskwatch.Task{PID: 9, TID: 9, PPID: 1, Argv: []string{strings.Repeat("x", 200)}}}
					select {
					case a.src.events <- ev:
					case err := <-r.ended:
						r.ended <- err
						sent = many
					}
				}
				select {
				case err := <-r.ended:
					r.ended <- nil
					if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), name) {
						t.Errorf("it ended with %v", err)
					}
				case <-time.After(patient):
					t.Fatal("the daemon goes on")
				}
				return
			}
			for range many {
				a.event(taskwatch.Exec, 9, 1, nil)
			}
			eventually(t, "it is said", func() bool { return strings.Contains(r.log.String(), "the log cannot be written") })
			a.settle()
			if err := r.Daemon.logs.all()[0].now().queue.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			logged(t, name) // no line is torn
			missing := r.metric(t, "taskwatch_log_lost_total", "cause=file", "log="+name)
			if missing == 0 || r.metric(t, "taskwatch_losses_total", "cause=log") != missing {
				t.Errorf("the metrics say that %v are lost, in all %v", missing, r.metric(t, "taskwatch_losses_total", "cause=log"))
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			if err := r.ReloadLogs(t.Context(), logs); err != nil {
				t.Fatal(err)
			}
			a.event(taskwatch.Exec, 9, 1, nil)
			last := a.seq
			a.settle()
			missing = r.metric(t, "taskwatch_log_lost_total", "cause=file", "log="+name)
			r.stop(t)
			list := logged(t, name)
			lost := uint64(0)
			for _, it := range list {
				if it.Loss != nil {
					lost += it.Loss.Count
				}
			}
			if float64(lost) != missing {
				t.Errorf("%d are lost, and the metrics say %v", lost, missing)
			}
			if kept := seqs(list); lost == 0 || uint64(len(kept))+lost != many+1 || !slices.Contains(kept, last) {
				t.Errorf("%d events and %d lost: %d of %d", len(kept), lost, uint64(len(kept))+lost, many+1)
			}
		})
	}
}

// What is wrong with a log is said with its file and line, before anything runs.
func TestLogRejects(t *testing.T) {
	dir := openDir(t)
	name := filepath.Join(dir, "c.toml")
	for text, says := range map[string][]string{
		"format = 'xml'":                   {":2: [[log]]", `format = "xml"`, "json, text, acct, audit or journald"},
		"on_full = 'wait'":                 {":2: [[log]]", "on_full", "drop, stop or end"},
		"fsync = 'often'":                  {":2: [[log]]", "never, second or always"},
		"max_size = '10 elephants'":        {":4: ", "10 elephants", "100MiB"},
		"max_age = 'soon'":                 {":4: ", "soon"},
		"keep = 3":                         {":2: [[log]]", "max_size or max_age"},
		"keep = -1\nmax_size = '1MiB'":     {":2: [[log]]", "keep = -1", "negative"},
		"events = ['exce']":                {":2: [[log]]", "exce"},
		"where = 'uid ='":                  {":2: [[log]]", "where"},
		"group = 'nosuchgroup'":            {":2: [[log]]", "nosuchgroup", "groupadd"},
		"fields = ['caps']\nformat='text'": {":2: [[log]]", "fields"},
		"fields = ['caps']\nenv='names'":   {":2: [[log]]", "env_redact", "fields lacks"},
		"fields = ['env']\nenv='some'":     {":2: [[log]]", `env = "some"`, "all or names"},
		"fields = ['env']\nenv_redact='('": {":2: [[log]]", `env_redact = "("`, "missing closing"},
		"format = 'journald'":              {":2: [[log]]", "journald keeps its own files", "leave out file"},
		"rotate = 3":                       {`unknown key "log.rotate"`},
	} {
		if err := os.WriteFile(name, []byte("socket = 'x'\n[[log]]\nfile = 'a.jsonl'\n"+text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := ReadFile(name)
		if err == nil {
			_, err = f.Config(name)
		}
		if err == nil {
			t.Errorf("%s is taken", text)
			continue
		}
		for _, want := range append(says, name) {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not say %q", text, err, want)
			}
		}
	}
	for file, says := range map[string]string{
		"":                             "has no file",
		dir:                            "no regular file",
		filepath.Join(dir, "no", "x"):  "in a directory that there is",
		filepath.Join(dir, "dup.json"): "twice",
	} {
		logs := []LogConfig{{File: file}}
		if says == "twice" {
			logs = append(logs, logs[0])
		}
		_, err := New(Config{Socket: filepath.Join(dir, "s"), Open: perform().src.open(nil), Logs: logs})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("log %q: %v, want %q", file, err, says)
		}
	}
}

// All keys of a file arrive, and the format of the messages has two names.
func TestFileLog(t *testing.T) {
	dir := openDir(t)
	name := filepath.Join(dir, "c.toml")
	read := func(text string) *File {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if f := read("log = 'json'\n"); f.LogFormat != "json" || f.Logs != nil {
		t.Errorf("%+v", f)
	}
	f := read(`log_format = "json"
[[log]]
file = "a.txt"
format = "json"
events = ["exec"]
fields = ["env"]
where = "uid == 0"
env = "names"
env_redact = "KEY"
max_size = "100MiB"
max_age = "24h"
keep = 7
gzip = true
fsync = "second"
on_full = "stop"
group = "0"
[[log]]
file = "/b"
`)
	cfg, err := f.Config(name)
	if err != nil {
		t.Fatal(err)
	}
	want := LogConfig{
		File: filepath.Join(dir, "a.txt"), Format: LogJSON, Events: []string{"exec"}, Fields: []string{"env"}, Where: "uid == 0", Env: "names", EnvRedact: "KEY",
		MaxSize: 100 << 20, MaxAge: 24 * time.Hour, Keep: 7, Gzip: true, Sync: LogSyncSecond, OnFull: LogStop, Group: "0",
	}
	if f.LogFormat != "json" || len(cfg.Logs) != 2 || fmt.Sprint(cfg.Logs[0]) != fmt.Sprint(want) || cfg.Logs[1].File != "/b" {
		t.Errorf("%+v, want %+v", cfg.Logs, want)
	}
}
