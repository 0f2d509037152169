package main

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"
)

// archive writes the tree as a .tar.gz that can be unpacked in /.
func (r *release) archive(arch string, tree []file) error {
	b, err := tarOf(tree, r.time)
	if err != nil {
		return err
	}
	if b, err = compress(b); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, r.base(arch)+".tar.gz"), b, 0o644)
}

// tarOf returns a tar of files, of the user and group 0, with their
// directories.
func tarOf(files []file, when time.Time) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	made := map[string]bool{".": true}
	var mkdir func(name string) error
	mkdir = func(name string) error {
		if made[name] {
			return nil
		}
		made[name] = true
		if err := mkdir(path.Dir(name)); err != nil {
			return err
		}
		return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: when})
	}
	for _, f := range files {
		name := f.path[1:]
		if err := mkdir(path.Dir(name)); err != nil {
			return nil, err
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(f.mode), Size: int64(len(f.content)), ModTime: when}); err != nil {
			return nil, err
		}
		if _, err := io.Copy(w, bytes.NewReader(f.content)); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
