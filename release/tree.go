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
	config  bool // the administrator's: kept when it was changed
}

// tree returns the files that are installed on a processor, sorted by path.
func (r *release) tree(arch string) ([]file, error) {
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
	add(r.program(arch), "/usr/bin/taskwatch", 0o755)
	add("daemon/systemd/taskwatch.service", "/usr/lib/systemd/system/taskwatch.service", 0o644)
	add("daemon/systemd/taskwatch.sysusers", "/usr/lib/sysusers.d/taskwatch.conf", 0o644)
	add("daemon/systemd/taskwatch.toml", "/etc/taskwatch/taskwatch.toml", 0o644)
	files[len(files)-1].config = true
	for name := range stock {
		add(filepath.Join(r.work, "modules", name), "/usr/lib/taskwatch/modules/"+name, 0o644)
	}
	add(filepath.Join(r.work, "completions/bash"), "/usr/share/bash-completion/completions/taskwatch", 0o644)
	add(filepath.Join(r.work, "completions/zsh"), "/usr/share/zsh/site-functions/_taskwatch", 0o644)
	add(filepath.Join(r.work, "completions/zsh"), "/usr/share/zsh/vendor-completions/_taskwatch", 0o644) // where Debian's zsh looks
	add(filepath.Join(r.work, "completions/fish"), "/usr/share/fish/vendor_completions.d/taskwatch.fish", 0o644)
	for _, name := range []string{"LICENSE", "LICENSES/GPL-2.0-only.txt", "LICENSES/BSD-2-Clause.txt", "README.md", "CHANGELOG.md"} {
		add(name, "/usr/share/doc/taskwatch/"+filepath.Base(name), 0o644)
	}
	add(filepath.Join(r.work, "THIRD_PARTY_LICENSES"), "/usr/share/doc/taskwatch/THIRD_PARTY_LICENSES", 0o644)
	pages, err := filepath.Glob(filepath.Join(r.work, "man", "*.1"))
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
