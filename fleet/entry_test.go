package fleet

import (
	"strings"
	"testing"
	"time"

	"aead.dev/minisign"
)

// Nobody signs or accepts a long selection: every node would read it.
func TestLongSelect(t *testing.T) {
	_, key, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for length, good := range map[int]bool{MaxSelect: true, MaxSelect + 1: false} {
		e := &Entry{Module: "m", Generation: 1, Digest: Digest(nil), Expires: time.Now(), Select: strings.Repeat(" ", length)}
		if _, err := SignEntry(key, e); (err == nil) != good || !good && !strings.Contains(err.Error(), "give the nodes a label") {
			t.Errorf("one of %d bytes: %v", length, err)
		}
	}
}

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
