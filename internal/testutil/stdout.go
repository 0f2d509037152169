package testutil

import (
	"io"
	"os"
	"testing"
)

// Stdout returns what f prints to standard output. Nothing else of the process
// may print meanwhile.
func Stdout(t testing.TB, f func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	old := os.Stdout
	os.Stdout = w
	defer func() { os.Stdout = old }()
	read := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(r)
		read <- string(b)
	}()
	f()
	w.Close()
	text := <-read
	r.Close()
	return text
}
