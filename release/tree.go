package main

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// file is a file of the installed tree.
type file struct {
	path    string // where it is installed
	mode    os.FileMode
	content []byte
	owner   int // user and group
}

// tree returns the files of a product that are installed on a processor, sorted by
// path.
func (r *release) tree(p *product, arch string) ([]file, error) {
	var files []file
	var failed error
	add := func(source, path string, mode os.FileMode) {
		if !filepath.IsAbs(source) {
			source = filepath.Join(r.source, source)
		}
		b, err := os.ReadFile(source)
		if err != nil && failed == nil {
			failed = err
		}
		files = append(files, file{path: path, mode: mode, content: b})
	}
	add(r.program(p, arch), "/usr/bin/"+p.name, 0o755)
	for path, source := range p.files {
		add(source, path, 0o644)
	}
	for _, source := range p.documents {
		add(source, "/usr/share/doc/"+p.name+"/"+filepath.Base(source), 0o644)
	}
	if p.stock {
		for name := range stock {
			add(filepath.Join(r.work, "modules", name), "/usr/lib/taskwatch/modules/"+name, 0o644)
		}
		add(filepath.Join(r.work, "completions/bash"), "/usr/share/bash-completion/completions/taskwatch", 0o644)
		add(filepath.Join(r.work, "completions/zsh"), "/usr/share/zsh/site-functions/_taskwatch", 0o644)
		add(filepath.Join(r.work, "completions/zsh"), "/usr/share/zsh/vendor-completions/_taskwatch", 0o644) // where Debian's zsh looks
		add(filepath.Join(r.work, "completions/fish"), "/usr/share/fish/vendor_completions.d/taskwatch.fish", 0o644)
	}
	add(r.licencesOf(p), "/usr/share/doc/"+p.name+"/THIRD_PARTY_LICENSES", 0o644)
	pages, err := filepath.Glob(filepath.Join(r.pages(p), "*.1"))
	if err != nil {
		return nil, err
	}
	for _, page := range pages {
		add(page, "/usr/share/man/man1/"+filepath.Base(page)+".gz", 0o644)
		f := &files[len(files)-1]
		if f.content, err = compress(f.content); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.path, b.path) })
	return files, failed
}

// compress returns what gzip -9n makes of b.
func compress(b []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
