package fleet

import "testing"

// Where a node is to get a file from is a repository, and nothing that could mean
// something else.
func TestIsPlace(t *testing.T) {
	for text, want := range map[string]bool{
		"https://registry.example/team/count": true, "http://127.0.0.1:5000/count": true,
		"registry.example/team/count": false, "ftp://registry.example/x": false, "https://registry.example": false, "https://registry.example/": false,
		"https://user:secret@registry.example/x": false, "https://registry.example/x?y": false, "https://registry.example/x#y": false,
		"https://registry.example/x:1": false, "https://registry.example/x@sha256:00": false, "https:///x": false, "https://a b/x": false,
	} {
		if got := isPlace(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
