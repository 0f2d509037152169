package export

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/sink/sqlite"
)

// question is a section of docs/query.md.
type question struct {
	title string
	asked map[string]string // by the language
}

var fenced = regexp.MustCompile("(?ms)^```(jq|sqlite|duckdb)\n(.*?)^```$")

func questions(t *testing.T) []question {
	t.Helper()
	text, err := os.ReadFile("../../docs/query.md")
	if err != nil {
		t.Fatal(err)
	}
	var list []question
	for _, section := range strings.Split(string(text), "\n## ")[1:] {
		title, rest, _ := strings.Cut(section, "\n")
		q := question{title, map[string]string{}}
		for _, m := range fenced.FindAllStringSubmatch(rest, -1) {
			q.asked[m[1]] = m[2]
		}
		if len(q.asked) != 3 {
			t.Fatalf("%s is asked in %d languages", title, len(q.asked))
		}
		list = append(list, q)
	}
	if len(list) < 5 {
		t.Fatalf("docs/query.md has %d questions", len(list))
	}
	return list
}

// answers returns what is to be answered, by the title, told from the lines of
// the recording by code of its own.
func answers(t *testing.T) map[string][]string {
	t.Helper()
	var (
		cpu, runs, pairs = map[string]int64{}, map[string]int64{}, map[string]int64{}
		failed           []string
		exe              = map[int]string{} // by pid: none is used twice in this recording
		live, most       = 1, 1
	)
	for _, l := range lines(t) {
		switch l.Event {
		case "clone":
			exe[l.Task.PID] = l.Task.Exe
			live++
			most = max(most, live)
		case "exec":
			runs[l.Task.Exe]++
			exe[l.Task.PID] = l.Task.Exe
			if p, ok := exe[l.Task.PPID]; ok {
				pairs[p+"\t"+l.Task.Exe]++
			}
		case "exit":
			cpu[l.Task.Exe] += l.Rusage.UTime + l.Rusage.STime
			if l.Exit.Group {
				live--
				if l.Exit.Code != 0 || l.Exit.Signal != 0 {
					failed = append(failed, fmt.Sprintf("%d\t%d\t%s", l.Exit.Signal, l.Exit.Code, strings.Join(l.Task.Argv, " ")))
				}
			}
		}
	}
	most10 := func(m map[string]int64, unit int64) (list []string) {
		var keys []string
		for k := range m {
			keys = append(keys, k)
		}
		slices.SortFunc(keys, func(a, b string) int {
			if m[a] != m[b] {
				return int(max(-1, min(1, m[b]-m[a])))
			}
			return strings.Compare(a, b)
		})
		for _, k := range keys[:min(10, len(keys))] {
			list = append(list, fmt.Sprintf("%s\t%d", k, m[k]/unit))
		}
		return list
	}
	return map[string][]string{
		"Which programs used the most CPU time?": most10(cpu, 1e6),
		"Which processes failed, and how?":       failed,
		"How often was each program run?":        most10(runs, 1),
		"Who runs whom?":                         most10(pairs, 1),
		"How many processes lived at once?":      {fmt.Sprint(most)},
	}
}

// ask asks all questions of docs/query.md in a language.
func ask(t *testing.T, language string, run func(t *testing.T, text string) []byte) {
	t.Helper()
	want := answers(t)
	for _, q := range questions(t) {
		t.Run(q.title, func(t *testing.T) {
			out := strings.TrimSuffix(string(run(t, q.asked[language])), "\n")
			got := strings.Split(out, "\n")
			if out == "" {
				got = nil
			}
			if _, known := want[q.title]; !known || !slices.Equal(got, want[q.title]) {
				t.Errorf("answers\n%s\nwant\n%s", out, strings.Join(want[q.title], "\n"))
			}
		})
	}
}

// command runs a program in a directory.
func command(t *testing.T, dir string, stdin []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Dir, cmd.Stdin, cmd.Stderr = dir, bytes.NewReader(stdin), &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%s: %v\n%s", path.Base(name), err, stderr.Bytes())
	}
	return out
}

func TestQueriesWithJQ(t *testing.T) {
	jq := testutil.RequireTool(t, "jq")
	text := recording(t)
	ask(t, "jq", func(t *testing.T, q string) []byte { return command(t, "", text, jq, "-rn", q) })
}

func TestQueriesWithSQLite(t *testing.T) {
	sqlite3 := testutil.RequireTool(t, "sqlite3")
	dir := t.TempDir()
	var out bytes.Buffer
	export(t, sqlite.New(&out, taskwatch.AllKinds, 0))
	command(t, dir, out.Bytes(), sqlite3, "-bail", "build.db")
	ask(t, "sqlite", func(t *testing.T, q string) []byte {
		return command(t, dir, nil, sqlite3, "-bail", "-separator", "\t", "build.db", q)
	})
	tr := truthOf(t)
	for q, want := range map[string]int64{
		"SELECT count(*) FROM events":                                             int64(len(lines(t))),
		"SELECT count(*) FROM processes":                                          int64(tr.processes),
		"SELECT count(*) FROM processes WHERE exit_code != 0 OR exit_signal != 0": int64(tr.failed),
		"SELECT sum(cpu_ns) FROM processes":                                       tr.cpuNS,
		"SELECT sum(execs) FROM processes":                                        int64(tr.execs),
		"SELECT count(*) FROM processes WHERE parent IS NULL":                     1,
		"SELECT count(*) FROM events e JOIN processes p ON p.id=e.process AND p.pid=e.pid WHERE kind='exec' AND e.cwd=p.cwd": int64(tr.execs),
	} {
		if got := strings.TrimSpace(string(command(t, dir, nil, sqlite3, "build.db", q))); got != fmt.Sprint(want) {
			t.Errorf("%s: %s, want %d", q, got, want)
		}
	}
}

// DuckDB comes by npm, for the night.
func TestQueriesWithDuckDB(t *testing.T) {
	testutil.Nightly(t)
	needsNPM(t)
	dir := t.TempDir()
	if out, err := exec.Command("npm", "install", "--prefix", dir, "--no-audit", "--no-fund", "@duckdb/node-api").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, text := range map[string][]byte{"build.jsonl": recording(t), "ask.cjs": []byte(askDuckDB)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ask(t, "duckdb", func(t *testing.T, q string) []byte { return command(t, dir, nil, "node", "ask.cjs", q) })
}

const askDuckDB = `const { DuckDBInstance } = require("@duckdb/node-api");
(async () => {
  const db = await (await DuckDBInstance.create(":memory:")).connect();
  const rows = (await db.runAndReadAll(process.argv[2])).getRows();
  process.stdout.write(rows.map((r) => r.map(String).join("\t") + "\n").join(""));
})();
`

// A text is what it was, whatever is in it; what was cut off is good up to a
// commit.
func TestSQLiteTexts(t *testing.T) {
	sqlite3 := testutil.RequireTool(t, "sqlite3")
	dir := t.TempDir()
	texts := []string{"it's", "a\nb", "\x00", "ä\xff", "", `\"`, "');DROP TABLE events;--"}
	var out bytes.Buffer
	s := sqlite.New(&out, taskwatch.KindsOf(taskwatch.Exec), 0)
	for i, text := range texts {
		s.Take(taskwatch.Item{Event: &taskwatch.Event{Seq: uint64(i) + 1, Kind: taskwatch.Exec, Task: &taskwatch.Task{PID: i + 2, TID: i + 2, Exe: text}}})
	}
	s.Take(taskwatch.Item{Loss: &taskwatch.Loss{Seq: 9, Count: 4}})
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	command(t, dir, out.Bytes(), sqlite3, "-bail", "a.db")
	var want []string
	for _, text := range texts {
		want = append(want, fmt.Sprintf("%X", text))
	}
	got := string(command(t, dir, nil, sqlite3, "a.db", "SELECT hex(CAST(exe AS BLOB)) FROM events ORDER BY seq; SELECT seq, count FROM losses"))
	if want := strings.Join(want, "\n") + "\n9|4\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}

	out.Reset()
	s = sqlite.New(&out, taskwatch.AllKinds, 0)
	for i := range 10_000 {
		s.Take(taskwatch.Item{Event: &taskwatch.Event{Seq: uint64(i) + 1, Kind: taskwatch.UID, Task: &taskwatch.Task{PID: 2, TID: 2}}})
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	cut := out.Bytes()[:bytes.LastIndexByte(out.Bytes()[:out.Len()-1], '\n')+1]
	command(t, dir, cut, sqlite3, "-bail", "b.db")
	if got := strings.TrimSpace(string(command(t, dir, nil, sqlite3, "b.db", "SELECT count(*) FROM events"))); got != "8192" {
		t.Errorf("%s events of a file that was cut off, want 8192", got)
	}
}

// In a recording with several runs, numbers begin again, and so do the processes;
// what nobody knows to be asked for is marked.
func TestSQLiteOfTwoRuns(t *testing.T) {
	sqlite3 := testutil.RequireTool(t, "sqlite3")
	dir := t.TempDir()
	var out bytes.Buffer
	s := sqlite.New(&out, taskwatch.KindsOf(taskwatch.Exec), 0)
	for run := range uint64(2) {
		s.Take(taskwatch.Item{Start: &taskwatch.Start{Source: "test"}})
		it := taskwatch.Item{Event: &taskwatch.Event{Seq: 1, Kind: taskwatch.Exec, Task: &taskwatch.Task{ID: taskwatch.TaskID{Run: run + 1, N: 1}, PID: 2, TID: 2, Exe: "/a"}}}
		if run == 1 {
			s.TakeUnsure(it)
		} else {
			s.Take(it)
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	command(t, dir, out.Bytes(), sqlite3, "-bail", "a.db")
	got := string(command(t, dir, nil, sqlite3, "a.db", "SELECT seq, pid, process, unsure FROM events; SELECT id, pid, execs, end_ns FROM processes ORDER BY id"))
	if want := "1|2|1|\n1|2|2|1\n1|2|1|\n2|2|1|\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
