package compiledb

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// Options say what becomes an entry. The zero value has the rules of the
// package; its exported fields are read from JSON by [ReadOptions].
type Options struct {
	// Compilers are recognized before those that the package knows.
	Compilers []Compiler `json:"compilers"`

	// Launchers are names of programs that run a compiler given to them.
	Launchers []string `json:"launchers"`

	// Exclude holds names or paths of compilers that make no entry.
	Exclude []string `json:"exclude"`

	// Failed adds entries for calls that failed.
	Failed bool `json:"failed"`

	// Expand replaces response files (@FILE) by their contents, if they still
	// exist.
	Expand bool `json:"expand"`

	// Files is where to look for sources, compilers and response files; nil
	// stands for the machine's files.
	Files Files `json:"-"`
}

// Compiler is a compiler that the package does not know, or one whose entries
// are to be changed.
type Compiler struct {
	Name   string   `json:"name"`   // of the program, or its absolute path
	Like   string   `json:"like"`   // takes the options of "gcc", the default, or of "nvcc"
	Add    []string `json:"add"`    // arguments to add
	Remove []string `json:"remove"` // arguments to leave out
}

// Files looks at files by their absolute paths.
type Files interface {
	// Exists reports whether there is such a file.
	Exists(path string) bool
	// Resolve returns the path without symbolic links.
	Resolve(path string) (string, error)
	// Read returns what is in a file of moderate size.
	Read(path string) ([]byte, error)
}

// ReadOptions reads options as a JSON object.
func ReadOptions(text []byte) (Options, error) {
	var o Options
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&o); err != nil {
		return o, fmt.Errorf("compiledb: %w; write {\"compilers\": [{\"name\": \"mycc\", \"add\": [\"-I/opt/include\"]}], \"launchers\": [], \"exclude\": [], \"failed\": false, \"expand\": false}", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return o, errors.New("compiledb: something follows the options; write one JSON object")
	}
	for _, c := range o.Compilers {
		if c.Name == "" {
			return o, errors.New("compiledb: a compiler has no name; give that of its program, or its path")
		}
		if !slices.Contains([]string{"", "gcc", "nvcc"}, c.Like) {
			return o, fmt.Errorf("compiledb: compiler %q is like %q, which is not known; choose gcc or nvcc", c.Name, c.Like)
		}
	}
	return o, nil
}

// machine is the files of this machine.
type machine struct{}

func (machine) Exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (machine) Resolve(path string) (string, error) { return filepath.EvalSymlinks(path) }

const maxResponse = 16 << 20 // bytes of a response file

func (machine) Read(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() { // a FIFO would have us wait for ever
		return nil, fmt.Errorf("%q is no regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxResponse+1))
	if len(text) > maxResponse {
		return nil, fmt.Errorf("%q is larger than %d bytes", path, maxResponse)
	}
	return text, err
}
