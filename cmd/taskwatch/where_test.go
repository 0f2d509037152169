package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is chosen of a recording is what jq would choose, and a recording that
// was chosen while it was made is the same.
func TestWhere(t *testing.T) { eachSource(t, testWhere) }

func testWhere(t *testing.T, source string) {
	dir := t.TempDir()
	all, some := filepath.Join(dir, "all.jsonl"), filepath.Join(dir, "some.jsonl")
	const script = "/bin/true --help; /bin/true; (exit 3); /bin/false; exit 1"
	if r := tw(t, "run", "--source", source, "-f", "json", "-o", all, "--", "sh", "-c", script); r.status != 1 {
		t.Fatalf("run: %+v", r)
	}
	for _, c := range []struct {
		expr string
		want int // events of the recording
	}{
		{`kind == "exec" && argv.exists(a, a == "--help")`, 1},
		{`kind == "exit" && exit.code != 0`, 3},
		{`exit.code == 3`, 1},
		{`kind == "exec" && parent.comm == "sh"`, 3}, // of the command nobody knows the parent
		{`kind == "clone" && exit.code == 3`, -1},
	} {
		r := tw(t, "replay", "-f", "json", "--unknown", "hide", "--where", c.expr, all)
		if c.want < 0 {
			if r.status != 2 || !strings.Contains(r.stderr, "no event can match") {
				t.Errorf("%s: %+v", c.expr, r)
			}
			continue
		}
		n := strings.Count(r.stdout, "\n")
		for _, no := range []string{"start", "end", "lost"} { // the daemon may have lost events of others
			n -= strings.Count(r.stdout, `{"event":"`+no+`",`)
		}
		if r.status != 0 || n != c.want {
			t.Errorf("%s: status %d, %d events, want %d:\n%s", c.expr, r.status, n, c.want, r.stdout)
		}
	}
	if r := tw(t, "run", "--source", source, "-f", "json", "-o", some, "--where", "exit.code == 3", "--", "sh", "-c", script); r.status != 1 {
		t.Fatalf("run: %+v", r)
	}
	events := eventsOf(t, some)
	if len(events) != 1 {
		t.Errorf("run --where has recorded %d events, want 1", len(events))
	}
}

func TestWhereNobodyCanTell(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events.jsonl")
	text := `{"event":"exec","val":0,"seq":1,"task":{"id":"1-1","pid":7,"tid":7,"argv":["a"]},"missing":["exe"]}` + "\n" +
		`{"event":"exec","val":0,"seq":2,"task":{"id":"1-2","pid":8,"tid":8,"exe":"/b","argv":["b"]}}` + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := tw(t, "replay", "--where", `exe != "/b"`, file)
	if r.status != 0 || !strings.HasSuffix(r.stdout, " exec        7 ? a\n") || strings.Count(r.stdout, "\n") != 1 {
		t.Errorf("text: %+v", r)
	}
	r = tw(t, "replay", "--where", `exe != "/b"`, "-f", "json", file)
	var line struct {
		Seq    int
		Unsure bool
	}
	if err := json.Unmarshal([]byte(r.stdout), &line); err != nil || !line.Unsure || line.Seq != 1 {
		t.Errorf("json: %v, %+v", err, r)
	}
	if r = tw(t, "replay", "--where", `exe != "/b"`, "--unknown=hide", file); r.status != 0 || r.stdout != "" {
		t.Errorf("hidden: %+v", r)
	}
}

func TestWhereErrors(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--where", `exee == "/x"`}, "did you mean exe?\n  exee == \"/x\"\n  ^"},
		{[]string{"--where", ""}, "the expression is empty"},
		{[]string{"--where", "pid == 1", "--where", "uid == 0"}, "--where is given twice; join the expressions with && or ||"},
		{[]string{"--unknown", "hide"}, "give that as well"},
		{[]string{"--where", "true", "--unknown", "x"}, "choose show or hide"},
		{[]string{"--where", "exit.code == 0", "-e", "exec"}, "only exit can match"},
		{[]string{"--where", "exit.code == 0", "-o", "x.folded"}, `"x.folded" needs the events of all processes`},
		{[]string{"--columns", "pid", "-o", "x.html"}, "only text, csv and json have columns"},
	} {
		r := tw(t, append(append([]string{"run"}, c.args...), "true")...)
		if r.status != 125 || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%q: status %d, %q, want %q", c.args, r.status, r.stderr, c.want)
		}
	}
}
