package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// A recording of 1 GB becomes all that there is to export at once, in at most
// 500 MB of memory.
func TestLargeRecording(t *testing.T) {
	testutil.Nightly(t)
	const size, most = 1 << 30, 500 << 20
	dir := t.TempDir()
	args := []string{"replay", "-", "--summary"}
	for _, name := range []string{"b.pftrace", "b.trace.json", "b.folded", "compile_commands.json", "b.otlp.jsonl", "b.sql", "b.csv"} {
		args = append(args, "-o", filepath.Join(dir, name))
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary(t), args...)
	var said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r, io.Discard, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	copies, err := repeated(w, "../../test/export/testdata/bzip2.jsonl.gz", size)
	w.Close()
	if wait := cmd.Wait(); err != nil || wait != nil {
		t.Fatalf("%v, %v: %s", err, wait, said.Bytes())
	}
	rss := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	t.Logf("%d builds in %d MB: %d MB of memory; %s", copies, size>>20, rss>>20, strings.TrimSpace(said.String()))
	if rss > most {
		t.Errorf("it took %d MB of memory", rss>>20)
	}
	// What is written is of all of it.
	csv, err := os.Open(filepath.Join(dir, "b.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer csv.Close()
	last := make([]byte, 4<<10)
	st, err := csv.Stat()
	if err != nil {
		t.Fatal(err)
	}
	n, err := csv.ReadAt(last, max(0, st.Size()-int64(len(last))))
	if lines := strings.Split(strings.TrimSpace(string(last[:n])), "\n"); err != nil && err != io.EOF || !strings.Contains(lines[len(lines)-1], "exit") {
		t.Errorf("the table ends with %q: %v", lines[len(lines)-1], err)
	}
	for _, name := range []string{"b.pftrace", "b.trace.json", "b.sql"} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Size() < size/20 {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
}

var moments = regexp.MustCompile(`"(seq|mono_ns)":([0-9]+)`)

// repeated writes a recording again and again, each time as a later one with
// tasks of its own.
func repeated(w io.Writer, file string, size int) (copies int, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return 0, err
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return 0, err
	}
	// The pieces between the numbers that change.
	type piece struct {
		before []byte
		number uint64
		step   uint64 // from one copy to the next
	}
	var pieces []piece
	end := 0
	for _, m := range moments.FindAllSubmatchIndex(text, -1) {
		n, err := strconv.ParseUint(string(text[m[4]:m[5]]), 10, 64)
		if err != nil {
			return 0, err
		}
		step := uint64(1000)
		if string(text[m[2]:m[3]]) == "mono_ns" {
			step = 100e9
		}
		pieces = append(pieces, piece{text[end:m[4]], n, step})
		end = m[5]
	}
	var b []byte
	for written := 0; written < size; copies++ {
		b = b[:0]
		for _, p := range pieces {
			b = append(b, p.before...)
			b = strconv.AppendUint(b, p.number+uint64(copies)*p.step, 10)
		}
		b = append(b, text[end:]...)
		b = bytes.ReplaceAll(b, []byte(`"2upblgsh-`), fmt.Appendf(nil, `"%s-`, strconv.FormatInt(int64(1e6+copies), 36)))
		n, err := w.Write(b)
		if err != nil {
			return copies, err
		}
		written += n
	}
	return copies, nil
}
