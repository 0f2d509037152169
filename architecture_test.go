package taskwatch

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// docs/architecture.md lists all packages, and names none that is not there.
func TestArchitectureListsPackages(t *testing.T) {
	testutil.Require(t, testutil.NeedsSource("go.mod"))
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, found := strings.Cut(string(text), "\n## Packages\n")
	if !found {
		t.Fatal("docs/architecture.md has no list of packages")
	}
	var listed []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*) \\|").FindAllStringSubmatch(list, -1) {
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			listed = append(listed, name[1])
		}
	}
	packages := map[string]bool{}
	for pkg := range importsOf(t, ".", false) {
		packages[pkg] = true
		if !slices.ContainsFunc(listed, func(name string) bool {
			return name == pkg || strings.HasSuffix(name, "/") && strings.HasPrefix(pkg+"/", name)
		}) {
			t.Errorf("docs/architecture.md does not list %s", pkg)
		}
	}
	for _, name := range listed {
		files, err := filepath.Glob(filepath.Join(name, "*.go"))
		if len(files) == 0 || err != nil {
			t.Errorf("docs/architecture.md lists %s, which is no package", name)
		}
	}
	top := map[string]bool{}
	for pkg := range packages {
		first, _, _ := strings.Cut(pkg, "/")
		top[first] = true
	}
	for _, span := range regexp.MustCompile("`([a-z]+)(/[a-z][a-z_./]*)`").FindAllStringSubmatch(string(text), -1) {
		if !top[span[1]] {
			continue
		}
		if _, err := os.Stat(span[1] + span[2]); err != nil {
			t.Errorf("docs/architecture.md names a place that is not there: %v", err)
		}
	}
}
