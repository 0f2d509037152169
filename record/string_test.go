package record

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"reflect"
	"testing"
	"unicode/utf8"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestStringForms(t *testing.T) {
	for in, want := range map[string]string{
		"plain text ~":     `"plain text ~"`,
		"é漢🎉":              `"é漢🎉"`,
		`a"b\c`:            `"a\"b\\c"`,
		"\x00\n\r\t\x1b":   `"\u0000\n\r\t\u001b"`,
		"\x7f\u0080\u009f": `"\u007f\u0080\u009f"`,
		"\u00a0\u2028":     "\"\u00a0\\u2028\"",
		"a\xffb\x80":       `"a\uefffb\uef80"`,
		"\xed\xa0\x80":     `"\uefed\uefa0\uef80"`, // a surrogate is no valid UTF-8
		"\uef80":           `"\uefee\uefbe\uef80"`,
		"\uef7f\uf000":     "\"\uef7f\uf000\"",
		"\ufffd":           "\"\ufffd\"",
	} {
		if got := string(appendString(nil, in)); got != want {
			t.Errorf("%q becomes %s, want %s", in, got, want)
		}
	}
}

// What does not stand for itself is found wherever it is, and nothing else is.
func TestStringPlaces(t *testing.T) {
	for c := range 0x100 {
		char := string([]byte{byte(c)})
		quoted := string(appendString(nil, char))
		if plain := ' ' <= c && c <= '~' && c != '"' && c != '\\'; plain != (quoted == `"`+char+`"`) {
			t.Errorf("%q becomes %s", char, quoted)
		}
		for n := range 20 {
			for i := range n {
				before, behind := "0123456789012345678"[:i], "0123456789012345678"[i+1:n]
				want := `"` + before + quoted[1:len(quoted)-1] + behind + `"`
				if got := string(appendString(nil, before+char+behind)); got != want {
					t.Errorf("%q becomes %s, want %s", before+char+behind, got, want)
				}
			}
		}
	}
}

func FuzzString(f *testing.F) {
	for _, s := range pieces {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text := appendString(nil, s)
		for _, c := range text {
			if c < ' ' || c == 0x7f {
				t.Errorf("%q becomes %q, with a control character", s, text)
			}
		}
		if !utf8.Valid(text) {
			t.Errorf("%q becomes %q, which is not UTF-8", s, text)
		}
		var parsed string
		if err := json.Unmarshal(text, &parsed); err != nil {
			t.Fatalf("%q becomes %q: %v", s, text, err)
		}
		if got := decodeString(parsed); got != s {
			t.Errorf("%q becomes %q and is read back as %q", s, text, got)
		}
	})
}

// pythonBytes follows the package comment with a JSON parser of its own and
// prints the bytes of every argument in hexadecimal.
const pythonBytes = `
import json, sys
for line in sys.stdin.buffer:
    args = []
    for arg in json.loads(line.decode("utf-8", "strict"))["task"]["argv"]:
        b = b""
        for c in arg:
            b += bytes([ord(c) & 0xff]) if 0xef80 <= ord(c) <= 0xefff else c.encode("utf-8", "strict")
        args.append(b.hex())
    print(json.dumps(args))
`

func TestAnotherParserFindsTheBytes(t *testing.T) {
	python := testutil.RequireTool(t, "python3")
	var lines []byte
	var want [][]string
	for seed := range uint64(500) {
		ev := newGenerator(seed).event()
		ev.Missing &^= taskwatch.FieldArgv
		ev.Task.Argv = append(ev.Task.Argv, pieces[seed%uint64(len(pieces))])
		want = append(want, ev.Task.Argv)
		lines = Append(lines, taskwatch.Item{Event: ev})
	}
	cmd := exec.Command(python, "-c", pythonBytes)
	cmd.Stdin = bytes.NewReader(lines)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, err.(*exec.ExitError).Stderr)
	}
	dec := json.NewDecoder(bytes.NewReader(out))
	for i, argv := range want {
		var got []string
		if err := dec.Decode(&got); err != nil {
			t.Fatal(err)
		}
		hexed := make([]string, len(argv))
		for i, arg := range argv {
			for _, c := range []byte(arg) {
				hexed[i] += string([]byte{hexDigits[c>>4], hexDigits[c&15]})
			}
		}
		if !reflect.DeepEqual(got, hexed) {
			t.Errorf("event %d: python finds %q, want %q", i, got, hexed)
		}
	}
}
