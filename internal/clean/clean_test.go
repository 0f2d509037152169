package clean

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

var quoted = map[string]string{
	"":                "''",
	"a-b_c.d/e:f=g,h": "a-b_c.d/e:f=g,h",
	"a b":             "'a b'",
	"=x":              "'=x'",
	"it's":            `'it'\''s'`,
	"$(x) `y` \\ *~#": "'$(x) `y` \\ *~#'",
	"é漢🎉":             "'é漢🎉'",
	"a\nb\tc\rd":      `$'a\nb\tc\rd'`,
	"\x1b[2J":         `$'\033[2J'`,
	"it's \\ \x01":    `$'it\'s \\ \001'`,
	"\xff1":           `$'\3771'`,
	"\u202e":          `$'\u202e'`,
	"\u00a0":          `$'\u00a0'`,
	"\u0085":          `$'\u0085'`,
	"\U000e0001x":     `$'\U000e0001x'`,
	"\ufffd":          "'\ufffd'",
	"\xef\xbf":        `$'\357\277'`,
}

func TestQuote(t *testing.T) {
	for in, want := range quoted {
		if got := Word(in); got != want {
			t.Errorf("%q becomes %s, want %s", in, got, want)
		}
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"it's a \\ $x": "it's a \\ $x",
		"\x1b[2J it's": `\033[2J it's`,
		"a\xffb":       `a\377b`,
	} {
		if got := Text(in); got != want {
			t.Errorf("%q becomes %s, want %s", in, got, want)
		}
	}
}

// TestShellReadsQuotesBack gives what was quoted to a shell.
func TestShellReadsQuotesBack(t *testing.T) {
	bash := testutil.RequireTool(t, "bash")
	var words, script bytes.Buffer
	add := func(word string) {
		words.WriteString(word + "\x00")
		script.WriteString(" " + Word(word))
	}
	for in := range quoted {
		add(in)
		add(in + "7f'" + in)
	}
	for c := 1; c < 256; c++ { // an argument holds no 0
		add(string([]byte{'x', byte(c), '7', 'f'}))
		add(string(rune(c)) + "0")
	}
	cmd := exec.Command(bash, "--norc", "-c", `printf '%s\0'`+script.String())
	cmd.Env = []string{"LC_ALL=C.UTF-8", testutil.Mark()}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got, want := strings.Split(string(out), "\x00"), strings.Split(words.String(), "\x00")
	if len(got) != len(want) {
		t.Fatalf("bash reads %d words, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("bash reads %s as %q, want %q", Word(want[i]), got[i], want[i])
		}
	}
}

func FuzzQuote(f *testing.F) {
	for in := range quoted {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, out := range []string{Word(s), Text(s)} {
			if !Prints(out) {
				t.Errorf("%q becomes %q, which does not print", s, out)
			}
		}
	})
}
