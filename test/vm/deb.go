package vm

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// fetch downloads a Debian package, named as apt-get download wants it, and
// keeps those of its files in the directory dir of the cache for which keep
// returns a name. keep gets clean paths without the first slash. The directory
// appears as a whole or not at all.
func fetch(ctx context.Context, pkg, dir string, keep func(string) string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("vm: cache: %w", err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "download-")
	if err != nil {
		return fmt.Errorf("vm: cache: %w", err)
	}
	defer os.RemoveAll(tmp)
	if _, err := output(ctx, tmp, "apt-get", "download", pkg); err != nil {
		return fmt.Errorf("vm: download %s: %w", pkg, err)
	}
	debs, _ := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if len(debs) != 1 {
		return fmt.Errorf("vm: download %s: apt-get left %d packages instead of one", pkg, len(debs))
	}
	got := filepath.Join(tmp, "got")
	if err := os.Mkdir(got, 0o755); err != nil {
		return fmt.Errorf("vm: cache: %w", err)
	}
	if err := unpack(ctx, debs[0], got, keep); err != nil {
		return fmt.Errorf("vm: unpack %s: %w", debs[0], err)
	}
	if err := os.Rename(got, dir); err != nil {
		if _, statErr := os.Stat(dir); statErr == nil {
			return nil // another process was faster
		}
		return fmt.Errorf("vm: cache: %w", err)
	}
	return nil
}

// unpack writes what keep has names for to the directory dir.
func unpack(ctx context.Context, deb, dir string, keep func(string) string) error {
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return missing(err)
	}
	found, err := unpackTar(bufio.NewReader(pipe), dir, keep)
	_, _ = io.Copy(io.Discard, pipe)
	if werr := cmd.Wait(); err == nil && werr != nil {
		err = fmt.Errorf("dpkg-deb: %w: %s", werr, bytes.TrimSpace(stderr.Bytes()))
	}
	if err == nil && !found {
		err = errors.New("it has none of the files that are wanted")
	}
	return err
}

// unpackTar writes regular files and symbolic links.
func unpackTar(r io.Reader, dir string, keep func(string) string) (found bool, err error) {
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return found, nil
		}
		if err != nil {
			return found, err
		}
		name := keep(path.Clean(h.Name))
		if name == "" || (h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeSymlink) {
			continue
		}
		if !filepath.IsLocal(name) {
			return found, fmt.Errorf("the file %q lies outside", name)
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return found, err
		}
		if h.Typeflag == tar.TypeSymlink {
			err = os.Symlink(h.Linkname, to)
		} else {
			err = writeFile(to, tr, h.FileInfo().Mode().Perm())
		}
		if err != nil {
			return found, err
		}
		found = true
	}
}

func writeFile(name string, r io.Reader, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, mode|0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// Packages returns the files of Debian packages, and of those that they depend
// on, as a guest of that processor gets them. Nothing of them is configured:
// no script of a package is run. Documentation is left out. They are
// downloaded unless the cache has them.
func Packages(ctx context.Context, arch Arch, names []string) ([]File, error) {
	cache, err := CacheDir()
	if err != nil {
		return nil, err
	}
	closure, err := dependencies(ctx, arch, names)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, pkg := range closure {
		tree, err := unpacked(ctx, cache, arch, pkg)
		if err != nil {
			return nil, err
		}
		for _, f := range tree {
			if !f.Mode.IsDir() { // a directory is made for what is in it
				files = append(files, f)
			}
		}
	}
	return files, nil
}

// dependencies returns the packages and all that they depend on.
func dependencies(ctx context.Context, arch Arch, names []string) ([]string, error) {
	args := []string{"depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks",
		"--no-replaces", "--no-enhances"}
	for _, name := range names {
		args = append(args, debianName(name, arch))
	}
	out, err := aptCache(ctx, args...)
	if err != nil {
		return nil, fmt.Errorf("vm: packages %s: %w; run %sapt-get update", strings.Join(names, " "), err, arch.addition())
	}
	wanted := make([]string, len(names))
	for i, name := range names {
		wanted[i] = debianName(name, arch)
	}
	return closure(string(out), wanted), nil
}

// closure returns the packages and all that they need, by the output of
// apt-cache depends --recurse. Of alternatives, and of what provides something
// virtual, it takes the first.
func closure(depends string, wanted []string) []string {
	needs := map[string][]string{}
	var of string                 // the package whose dependencies follow
	var virtual, alternative bool // the last one has no package; the next one is an alternative to it
	for line := range strings.Lines(depends) {
		name := strings.TrimSpace(line)
		kind, dependency, isDependency := strings.Cut(strings.TrimPrefix(name, "|"), ": ")
		switch {
		case name == "":
		case line[0] != ' ':
			of, virtual, alternative = name, false, false
		case isDependency && (kind == "Depends" || kind == "PreDepends"):
			if !alternative {
				if virtual = dependency[0] == '<'; !virtual {
					needs[of] = append(needs[of], dependency)
				}
			}
			alternative = name[0] == '|'
		case !isDependency && virtual: // provides it
			needs[of], virtual = append(needs[of], name), false
		}
	}
	var list []string
	seen := map[string]bool{}
	var walk func(string)
	walk = func(pkg string) {
		bare, _, _ := strings.Cut(pkg, ":")
		if seen[pkg] || unconfigured[bare] {
			return
		}
		seen[pkg] = true
		list = append(list, pkg)
		for _, need := range needs[pkg] {
			walk(need)
		}
	}
	for _, pkg := range wanted {
		walk(pkg)
	}
	return list
}

// unconfigured are packages on which others depend for what their scripts do.
var unconfigured = map[string]bool{"debconf": true, "debconf-2.0": true, "cdebconf": true, "dpkg": true, "tar": true, "perl-base": true,
	"install-info": true, "debianutils": true, "base-files": true, "gcc-12-base": true}

// available returns the name that apt has a package under, and its version. One that is
// the same for all processors has none of theirs in its name.
func available(ctx context.Context, arch Arch, bare string) (name, version string, err error) {
	name = debianName(bare, arch)
	out, err := aptCache(ctx, "policy", name)
	if err != nil {
		return "", "", err
	}
	if version = candidate(out); version != "" {
		return name, version, nil
	}
	if out, err = aptCache(ctx, "policy", bare); err != nil {
		return "", "", err
	}
	if version = candidate(out); version != "" {
		out, err := aptCache(ctx, "show", bare+"="+version)
		if err == nil && strings.Contains(string(out), "\nArchitecture: all\n") {
			return bare, version, nil
		}
	}
	return "", "", fmt.Errorf("vm: apt has no %s; run %sapt-get update", name, arch.addition())
}

// unpacked returns the files of one package.
func unpacked(ctx context.Context, cache string, arch Arch, pkg string) ([]File, error) {
	bare, _, _ := strings.Cut(pkg, ":")
	pkg, version, err := available(ctx, arch, bare)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cache, "root", bare+"_"+strings.ReplaceAll(version, "/", "_")+"_"+string(arch))
	if _, err := os.Stat(dir); err != nil {
		if err := fetch(ctx, pkg+"="+version, dir, installed); err != nil {
			return nil, err
		}
	}
	return Tree(dir, "/")
}

// installed keeps what programs need.
func installed(name string) string {
	for _, dir := range []string{"usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian", "usr/share/bug"} {
		if name == dir || strings.HasPrefix(name, dir+"/") {
			return ""
		}
	}
	return name
}
