package watchtest

import (
	_ "embed"
	"os"
	"path/filepath"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

//go:embed testdata/workload.c
var workloadSource []byte

// buildWorkload builds the workload. Every user may execute it: parts of it
// run without privileges.
func buildWorkload(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "workload.c")
	if err := os.WriteFile(file, workloadSource, 0o644); err != nil {
		t.Fatal(err)
	}
	return testutil.BuildC(t, file)
}
