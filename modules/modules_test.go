package modules

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// What stands in the directory is in the list, and the other way round.
func TestAllAreListed(t *testing.T) {
	testutil.Require(t, testutil.NeedsSource("modules.go"))
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	dirs := 0
	for _, e := range entries {
		if !e.IsDir() || e.Name() == "built" {
			continue
		}
		dirs++
		m := Find(e.Name())
		if m == nil {
			t.Errorf("%s is not in the list", e.Name())
			continue
		}
		file, source := m.Source()
		want, err := os.ReadFile(filepath.Join(m.Name, file))
		if err != nil || string(source) != string(want) {
			t.Errorf("the source of %s is not its file (%v)", m.Name, err)
		}
		object := m.Object()
		if object != nil && !IsStock(object) || IsStock(source) || IsStock(nil) {
			t.Errorf("%s: what is stock is not what was built", m.Name)
		}
		if object == nil && m.Name != "slowexec" {
			t.Errorf("%s is not built", m.Name)
		}
	}
	if dirs != len(All()) || Find("") != nil || Find("nosuch") != nil {
		t.Errorf("%d directories, %d in the list", dirs, len(All()))
	}
}
