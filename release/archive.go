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

// archive writes the tree of a product as a .tar.gz that can be unpacked in /.
func (r *release) archive(p *product, arch string, tree []file) error {
	b, err := tarOf(tree, r.time)
	if err != nil {
		return err
	}
	if b, err = compress(b); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, r.base(p, arch)+".tar.gz"), b, 0o644)
}

// tarOf returns a tar of files with their directories. All are of the user and
// group 0, but for those that name another.
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
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(f.mode.Perm()), Size: int64(len(f.content)), ModTime: when, Uid: f.owner, Gid: f.owner}
		if f.mode.IsDir() {
			h.Typeflag, h.Name = tar.TypeDir, name+"/"
		}
		if err := w.WriteHeader(h); err != nil {
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
