package audit

import (
	"bytes"
	"context"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
)

// execRecord is a record as the module sends it, of an exec with a terminal and
// arguments.
func execRecord(tty string, args ...string) []byte {
	b := make([]byte, argsAt)
	put := func(word int, v uint32) { binary.NativeEndian.PutUint32(b[4*word:], v) }
	put(0, kindExec)
	put(5, 4711)
	put(17, 1<<31|1) // a status, which an exec has none of
	put(18, uint32(len(args)))
	all := []byte(strings.Join(args, "\x00") + "\x00")
	const texts = 19 // lengths: exe, name, cwd, args, tty
	put(texts, 4)
	put(texts+1, 1<<31)           // unknown
	put(texts+2, uint32(textLen)) // cut
	put(texts+3, uint32(len(all)))
	put(texts+4, uint32(len(tty)))
	copy(b[4*(texts+5):], "comm")
	copy(b[4*(texts+5)+16:], tty)
	copy(b[exeAt:], "/bin")
	return append(b, all...)
}

func recordOf(data []byte) taskwatch.Item {
	return taskwatch.Item{Record: &taskwatch.Record{Module: Module, Data: data, Time: time.Unix(1, 2e6)}}
}

func TestLines(t *testing.T) {
	for _, c := range []struct {
		tty  string
		args []string
		want []string
		not  string
	}{
		{"pts/0", []string{"ls", "a b"}, []string{" pid=4711 ", " tty=pts0 ", ` comm="comm"`, ` exe="/bin"`, `argc=2 a0="ls" a1=612062`}, "type=CWD"},
		{"", []string{""}, []string{"tty=(none) ", `argc=1 a0=""`, `proctitle="(null)"`}, "\n\n"},
		{"x\ntype=X", []string{"a\ntype=USER", `"`}, []string{"a0=610A747970653D55534552 a1=22"}, "tty="},
	} {
		var out bytes.Buffer
		s := New(&out)
		s.Take(recordOf(execRecord(c.tty, c.args...)))
		s.Take(recordOf([]byte("short")))
		if err := s.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		text := out.String()
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%q is missing in\n%s", want, text)
			}
		}
		if strings.Contains(text, c.not) {
			t.Errorf("%q is in\n%s", c.not, text)
		}
		if n := strings.Count(text, "\n"); n != 3 { // SYSCALL, EXECVE, PROCTITLE
			t.Errorf("%d lines:\n%s", n, text)
		}
		if notes := s.Notes(); len(notes) != 1 || !strings.HasPrefix(notes[0], "1 records of another layout") {
			t.Errorf("notes are %q", notes)
		}
	}
}

// Whatever a record holds, each line is one of audit's, of characters that print.
func FuzzAppend(f *testing.F) {
	f.Add(execRecord("pts/0", "ls", "-l"))
	f.Add(execRecord("\n", "\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var out bytes.Buffer
		s := New(&out)
		s.Take(recordOf(data))
		if err := s.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			if !strings.HasPrefix(line, "type=") || !strings.Contains(line, " msg=audit(1.002:1): ") || !strings.HasSuffix(line, "\n") {
				t.Fatalf("a line is %q of %q", line, out.String())
			}
			if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(c rune) bool { return c < 0x20 || c > 0x7e }) {
				t.Fatalf("a line has other characters: %q", line)
			}
		}
	})
}
