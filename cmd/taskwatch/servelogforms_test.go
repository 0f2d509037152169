package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/sink/acct"
)

// A log may be accounting, in whole records whatever the size of its files, and
// audit records, of the module that sends them.
func TestServeLogForms(t *testing.T) {
	testutil.Root(t)
	dir := t.TempDir()
	accounting, audit, config := filepath.Join(dir, "a.acct"), filepath.Join(dir, "a.audit"), filepath.Join(dir, "taskwatch.toml")
	text := fmt.Sprintf("[[log]]\nfile = %q\nformat = \"acct\"\nmax_size = \"100\"\nwhere = 'comm.startsWith(\"tw-form\")'\n[[log]]\nfile = %q\nformat = \"audit\"\n", accounting, audit)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startServe(t, filepath.Join(dir, "s"), nil, "--config", config)
	eventually(t, "both logs are written", func() bool { return strings.Count(s.log.String(), "writing a log") == 2 })
	program := filepath.Join(dir, "tw-form")
	b, err := os.ReadFile("/bin/true")
	if err == nil {
		err = os.WriteFile(program, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	run := func() {
		t.Helper()
		if out, err := exec.Command(program, "an argument").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	run() // before the module: accounting alone has it
	s.must(t, "insmod", "auditrec", "exe="+program, "key=form")
	run()
	if err := s.cmd.Process.Signal(unix.SIGHUP); err != nil { // which changes nothing
		t.Fatal(err)
	}
	run()
	files := func() (list []string) {
		list, err := filepath.Glob(accounting + "*")
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	eventually(t, "each process has a record, in a file of its own", func() bool { return len(files()) == 3 })
	eventually(t, "the runs after insmod have audit records", func() bool { return strings.Count(string(readFile(t, audit)), "type=EXECVE ") == 2 })
	s.stop(t)
	for _, file := range files() {
		list := accounts(t, file)
		if len(list) != 1 || list[0].comm() != "tw-form" || list[0].Status != 0 {
			t.Errorf("%s: %+v", file, list)
		}
	}
	lines := string(readFile(t, audit))
	if n := strings.Count(lines, `key="form"`); n < 2 || strings.Contains(lines, `{"event"`) || strings.Count(lines, fmt.Sprintf("%q", program)) < 2 {
		t.Errorf("%d records have the key:\n%s", n, lines)
	}

	// A file that ends within a record is not written to.
	if err := os.WriteFile(accounting, make([]byte, acct.RecordLen+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		text: "no whole number of records",
		"[[log]]\nfile = \"x\"\nformat = \"audit\"\nevents = [\"exec\"]\n":         "leave out events and where",
		"[[log]]\nfile = \"x\"\nformat = \"acct\"\nevents = [\"exec\"]\n":          "events lack exit",
		"[[log]]\nfile = \"x\"\nformat = \"acct\"\nfields = [\"tty\"]\n":           "the format is acct",
		"[[log]]\nfile = \"x\"\nformat = \"lastcomm\"\n":                           "choose json, text, acct, audit or journald",
		"[[log]]\nfile = \"x\"\nformat = \"audit\"\nwhere = 'comm == \"cc\"'\n":    "leave out events and where",
		"[[log]]\nfile = \"x\"\nformat = \"audit\"\nfields = [\"ns\"]\nkeep = 1\n": "keep and gzip",
		"[[log]]\nfile = \"x\"\nformat = \"audit\"\nfields = [\"ns\"]\n":           "the format is audit",
	} {
		if err := os.WriteFile(config, []byte(in), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := tw(t, "serve", "--socket", filepath.Join(dir, "s"), "--config", config); r.status == 0 || !strings.Contains(r.stderr, want) {
			t.Errorf("%s: %+v, want %q", in, r, want)
		}
	}
}
