package daemon

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// How the daemon is called is known to the files that serve its interface, or call it:
// what it is stands apart from that.
func TestWhatKnowsTheInterface(t *testing.T) {
	testutil.Require(t, testutil.NeedsSource("daemon.go"))
	know := []string{"client.go", "error.go", "events.go", "interface.go", "maps.go", "server.go", "service.go"}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range f.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(path, "/daemon/api") || strings.HasPrefix(path, "connectrpc.com/") {
				found = append(found, file)
				break
			}
		}
	}
	if !slices.Equal(found, know) {
		t.Errorf("the interface is known to %v, want %v", found, know)
	}
}
