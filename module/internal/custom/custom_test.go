package custom

import (
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// What is appended is found, also behind other sections, and nothing where a file ends
// early.
func TestSections(t *testing.T) {
	long := strings.Repeat("x", 300)
	file := []byte("\x00asm\x01\x00\x00\x00\x01\x02ab")
	for _, s := range [][2]string{{"one", "first"}, {"two", long}, {"one", "second"}, {"", ""}} {
		file = Append(file, s[0], s[1])
	}
	found := Sections(file)
	if len(found) != 3 || string(found["one"]) != "first" || string(found["two"]) != long || len(found[""]) != 0 {
		t.Errorf("found %q", found)
	}
	for n := range file {
		for name, content := range Sections(file[:n]) {
			if len(content) > 0 && string(content) != string(found[name]) {
				t.Errorf("of %d bytes: %s is %q", n, name, content)
			}
		}
	}
	if Sections([]byte("\x00asm\x01\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))["one"] != nil {
		t.Error("a length that is none")
	}
}
