package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// A file that others cut while it is written says that items may be missing; where
// its format has no line for that, a message does.
func TestFilesThatOthersCut(t *testing.T) {
	t.Parallel()
	for name, inFile := range map[string]bool{"events.jsonl": true, "events.txt": true, "events.sh": true, "events.csv": false} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file, stop := filepath.Join(dir, name), filepath.Join(dir, "stop")
			run := cmd(t, "run", "--source", "ptrace", "-o", file, "--", testutil.RequireTool(t, "sh"), "-c", "while [ ! -e "+stop+" ]; do /bin/true; done")
			var stderr bytes.Buffer
			run.Stderr = &stderr
			if err := run.Start(); err != nil {
				t.Fatal(err)
			}
			grown := func() bool {
				st, err := os.Stat(file)
				return err == nil && st.Size() > 5_000
			}
			eventually(t, "something is in the file", grown)
			if err := os.Truncate(file, 0); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the file goes on", grown)
			if err := os.WriteFile(stop, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := run.Wait(); err != nil {
				t.Fatalf("%v: %s", err, stderr.String())
			}
			text := string(readFile(t, file))
			if said := strings.Contains(text, "lost"); said != inFile {
				t.Errorf("the file says that something is lost: %v, want %v\n%.500s", said, inFile, text)
			}
			if said := strings.Count(stderr.String(), "others have cut the file; items may be missing"); said != map[bool]int{false: 1}[inFile] {
				t.Errorf("%d messages: %s", said, stderr.String())
			}
		})
	}
}
