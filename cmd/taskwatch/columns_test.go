package main

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// columnsRecording is two events, of another year.
func columnsRecording(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "events.jsonl")
	text := `{"event":"exec","val":0,"seq":1,"time":"2001-02-03T04:05:06.000007Z","mono_ns":1000000000,"source":"bpf","task":{"id":"1-1","pid":7,"tid":7,"ppid":1,"comm":"a","exe":"/bin/a","argv":["a","b c"],"uid":[0,0,0,0],"cgroup":"/system.slice/docker-` + strings.Repeat("ab", 32) + `.scope"},"missing":["cwd"]}
{"event":"exit","val":256,"seq":2,"time":"2001-02-03T04:05:07.500007Z","mono_ns":2500000000,"source":"bpf","task":{"id":"1-1","pid":7,"tid":7,"ppid":1,"comm":"a","exe":"/bin/a","argv":["a","b c"],"uid":[0,0,0,0]},"exit":{"code":1,"signal":0,"core":false,"group":true},"missing":["cgroup"]}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestColumns(t *testing.T) {
	file := columnsRecording(t)
	id := strings.Repeat("ab", 32)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--columns", "time,kind,user,pid,args", "--time", "utc"},
			"TIME            KIND  USER           PID ARGS\n" +
				"2001-02-03 04:05:06.000007 exec  root             7 a 'b c'\n" +
				"2001-02-03 04:05:07.500007 exit  root             7 a 'b c'\n"},
		{[]string{"--columns", "time,kind", "--time", "relative"},
			"TIME            KIND\n       0.000000 exec\n       1.500000 exit\n"},
		{[]string{"--columns", "time,kind", "--time", "unix"},
			"TIME            KIND\n981173106.000007 exec\n981173107.500007 exit\n"},
		{[]string{"--columns", "kind,container"}, "KIND  CONTAINER\nexec  " + id + "\nexit  -\n"},
		{[]string{"--columns", "kind,container.name,container.image,container.user", "-f", "json"}, `{"kind":"exec"}` + "\n" + `{"kind":"exit"}` + "\n"},
		{[]string{"--columns", "kind,code,user", "--numeric"}, "KIND  CODE USER\nexec     - 0\nexit     1 0\n"},
		{[]string{"--columns", "span_ns,kind", "-e", "exit"}, "     SPAN_NS KIND\n  1500000000 exit\n"},
		{[]string{"--columns", "kind,pid,args,code", "-f", "json"},
			`{"kind":"exec","pid":7,"args":["a","b c"]}` + "\n" + `{"kind":"exit","pid":7,"args":["a","b c"],"code":1}` + "\n"},
		{[]string{"--columns", "kind,args,code", "-f", "csv"}, "kind,args,code\nexec,a 'b c',\nexit,a 'b c',1\n"},
		{[]string{"--color", "always", "--columns", "kind"}, "\x1b[1mKIND\x1b[0m\n\x1b[32mexec\x1b[0m\n\x1b[0mexit\x1b[0m\n"},
	} {
		r := tw(t, append(append([]string{"replay"}, c.args...), file)...)
		if r.status != 0 || r.stdout != c.want {
			t.Errorf("%q: status %d, %s\n%s\nwant\n%s", c.args, r.status, r.stderr, r.stdout, c.want)
		}
	}
}

// Times that are spans are numbers for programs: only text pads them.
func TestColumnsOfSpans(t *testing.T) {
	file := columnsRecording(t)
	for _, c := range []struct{ style, format, want string }{
		{"relative", "json", `{"time":"0.000000"}` + "\n" + `{"time":"1.500000"}` + "\n"},
		{"delta", "csv", "time\n0.000000\n1.500000\n"},
		{"unix", "csv", "time\n981173106.000007\n981173107.500007\n"},
		{"utc", "csv", "time\n2001-02-03 04:05:06.000007\n2001-02-03 04:05:07.500007\n"},
	} {
		if r := tw(t, "replay", "--columns", "time", "--time", c.style, "-f", c.format, file); r.status != 0 || r.stdout != c.want {
			t.Errorf("%s as %s: %+v, want %q", c.style, c.format, r, c.want)
		}
	}
}

// Rows of which nobody knows whether they were asked for are marked where there is
// a place for it, or else there is a message.
func TestUnsureRows(t *testing.T) {
	file := columnsRecording(t)
	args := func(more ...string) []string {
		return append([]string{"replay", file, "--where", `cwd != "/x"`, "-e", "exec"}, more...)
	}
	for _, c := range []struct {
		args    []string
		want    string
		message string
	}{
		{args("-f", "json", "--columns", "kind"), `{"kind":"exec","unsure":true}` + "\n", ""},
		{args("-f", "json", "--columns", "unsure,kind"), `{"kind":"exec","unsure":true}` + "\n", ""},
		{args("-f", "csv", "--columns", "kind,unsure"), "kind,unsure\nexec,true\n", ""},
		{args("-f", "csv", "--columns", "kind"), "kind\nexec\n", "1 row may not match --where"},
		{args("--columns", "kind,unsure"), "KIND  UNSURE\n? exec  true\n", ""},
		{args("-f", "csv", "--columns", "kind", "--unknown", "hide"), "kind\n", ""},
	} {
		r := tw(t, c.args...)
		if r.status != 0 || r.stdout != c.want || !strings.Contains(r.stderr, c.message) || c.message == "" && r.stderr != "" {
			t.Errorf("%q: %+v, want %q and the message %q", c.args, r, c.want, c.message)
		}
	}
}

// Texts of rows are as in recordings: nothing of them is lost, and nothing of them
// drives a terminal.
func TestOddTextsInRows(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events.jsonl")
	text := `{"event":"exec","val":0,"seq":1,"task":{"id":"1-1","pid":7,"tid":7,"comm":"\u001b[31m","exe":"/a\n\"b\",c","argv":["\uefff\uef80","\u0000","é\u009b","<&>"]}}` + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	const columns = "comm,exe,args"
	for format, want := range map[string]string{
		"json": `{"comm":"\u001b[31m","exe":"/a\n\"b\",c","args":["\uefff\uef80","\u0000","é\u009b","<&>"]}` + "\n",
		"csv":  columns + "\n\x1b[31m,\"/a\n\"\"b\"\",c\",$'\\377\\200' $'\\000' $'é\\u009b' '<&>'\n",
		"text": "COMM            EXE                      ARGS\n" + `\033[31m        /a\n"b",c                $'\377\200' $'\000' $'é\u009b' '<&>'` + "\n",
	} {
		if r := tw(t, "replay", "-f", format, "--columns", columns, file); r.status != 0 || r.stdout != want {
			t.Errorf("%s: %+v\nwant\n%q", format, r, want)
		}
	}
}

// The CPU time of a program is that since its exec, and missing where nobody told
// what was used before.
func TestColumnOfCPUTime(t *testing.T) {
	line := func(event, before, more string) string {
		return `{"event":"` + event + `","val":0,"seq":1,"mono_ns":1000,"source":"bpf","task":{"id":"1-1","pid":7,"tid":7,"ppid":1,"comm":"a","exe":"/bin/a","argv":["a"],"uid":[0,0,0,0]` +
			before + `}` + more + `,"missing":["cwd"]}` + "\n"
	}
	exit := line("exit", "", `,"exit":{"code":0,"signal":0,"core":false,"group":true},"rusage":{"utime_ns":900,"stime_ns":300}`)
	for before, want := range map[string]string{
		`,"before":{"utime_ns":400,"stime_ns":100}`: "700",
		"": "",
	} {
		file := filepath.Join(t.TempDir(), "events.jsonl")
		if err := os.WriteFile(file, []byte(line("exec", "", "")+line("exec", before, "")+exit), 0o600); err != nil {
			t.Fatal(err)
		}
		want = "kind,cpu_ns\nexec,\nexec,\nexit," + want + "\n"
		if r := tw(t, "replay", "-f", "csv", "--columns", "kind,cpu_ns", file); r.status != 0 || r.stdout != want {
			t.Errorf("with %s: %+v, want %s", before, r, want)
		}
	}
}

// What is written as CSV is read by another program as it was.
func TestCSV(t *testing.T) {
	out := filepath.Join(t.TempDir(), "events.csv")
	if r := tw(t, "replay", columnsRecording(t), "-o", out, "--columns", "kind,exe,args,code"); r.status != 0 {
		t.Fatalf("%+v", r)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) != 3 || strings.Join(rows[2], "|") != "exit|/bin/a|a 'b c'|1" {
		t.Errorf("%q, %v", rows, err)
	}
}

func TestColumnsErrors(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--columns", "kind,pidd"}, `no column is named "pidd"; there are time, kind`},
		{[]string{"--columns", "pid,pid"}, "named twice"},
		{[]string{"--columns", ""}, "no column given"},
		{[]string{"--time", "noon"}, "choose one of local, utc"},
		{[]string{"--color", "blue"}, "choose auto, always or never"},
	} {
		r := tw(t, append(append([]string{"run"}, c.args...), "true")...)
		if r.status != 125 || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%q: status %d, %q, want %q", c.args, r.status, r.stderr, c.want)
		}
	}
}

// The columns of a run are what ps would say.
func TestColumnsOfARun(t *testing.T) {
	r := tw(t, "run", "-f", "json", "--columns", "kind,pid,ppid,args", "-e", "exec", "--", "sh", "-c", "echo $$; exec true x")
	var rows []struct {
		PID  int
		Args []string
	}
	for line := range strings.Lines(r.stderr) {
		var row struct {
			PID  int
			Args []string
		}
		if err := json.Unmarshal([]byte(line), &row); err == nil {
			rows = append(rows, row)
		}
	}
	if len(rows) != 2 || strings.TrimSpace(r.stdout) == "" || rows[1].Args[1] != "x" || rows[0].PID != rows[1].PID {
		t.Errorf("rows %+v, %+v", rows, r)
	}
}
