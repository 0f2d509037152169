package doctor

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == ChildCommand {
		Child(os.Args[2])
		return
	}
	testutil.Main(m)
}

// TestExamine writes the diagnosis to the file that TASKWATCH_DIAGNOSIS names,
// if any: the kernel matrix makes the table in README of it.
func TestExamine(t *testing.T) {
	testutil.Root(t)
	d := Examine(t.Context())
	if err := d.Err(); err != nil {
		t.Error(err)
	}
	works := map[string]bool{}
	for _, s := range d.Sources {
		works[s.Name] = s.Works
		t.Logf("%+v", s)
	}
	// Everybody can trace a command of his own.
	if len(works) != 3 || !works["ptrace"] {
		t.Errorf("the sources are %v", works)
	}
	if file := os.Getenv("TASKWATCH_DIAGNOSIS"); file != "" {
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
