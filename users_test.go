package taskwatch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// Tests of two packages run at the same time. What a test counts as the doings of a
// user or a group that it has made up, or denies them, is nobody else's only if no other
// package's tests have the same one: those from 34500 to 34599 are each of one package.
func TestUsersOfTests(t *testing.T) {
	testutil.Require(t, testutil.NeedsSource("go.mod"))
	users := map[int]string{} // where they are
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		pkg := path.Dir(filepath.ToSlash(file))
		for _, user := range usersIn(f) {
			if before, ok := users[user]; ok && before != pkg {
				t.Errorf("the user %d is of the tests of %s and of %s: take another one", user, before, pkg)
			}
			users[user] = pkg
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(users) < 2 {
		t.Errorf("there are %d users", len(users))
	}
	found := usersIn(parsed(t, "package p\n\nconst a, b, c, d, e = 34_501, 34600, 0x1, \"uid=34502,\", `12345012`\n"))
	if !slices.Equal(found, []int{34501, 34502}) {
		t.Errorf("found %v", found)
	}
}

var userInText = regexp.MustCompile(`\b345[0-9]{2}\b`)

func usersIn(f *ast.File) (users []int) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch lit, _ := n.(*ast.BasicLit); {
		case lit == nil:
		case lit.Kind == token.INT:
			if user, err := strconv.ParseInt(lit.Value, 0, 64); err == nil && user/100 == 345 {
				users = append(users, int(user))
			}
		case lit.Kind == token.STRING: // a command's, or what is expected
			for _, text := range userInText.FindAllString(lit.Value, -1) {
				user, _ := strconv.Atoi(text)
				users = append(users, user)
			}
		}
		return true
	})
	return users
}
