package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// DebianSource returns the directory of a Debian source package, which stays in
// the user's cache. It needs apt-get and dpkg-source, and the first time a network.
func DebianSource(pkg string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("bench: %w", err)
	}
	cache = filepath.Join(cache, "taskwatch", "sources")
	dir := filepath.Join(cache, pkg)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("bench: %w", err)
	}
	tmp, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return "", fmt.Errorf("bench: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := fetchSource(tmp, pkg); err != nil {
		return "", fmt.Errorf("bench: Debian's source package %s cannot be fetched: %w", pkg, err)
	}
	return dir, os.Rename(filepath.Join(tmp, "src"), dir)
}

// fetchSource unpacks a source package below a directory, by lists of its own.
func fetchSource(tmp, pkg string) error {
	run := func(name string, args ...string) (string, error) {
		cmd := exec.Command(name, args...)
		cmd.Dir = tmp
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%s: %w: %s", cmd, err, out)
		}
		return string(out), err
	}
	targets, err := run("apt-get", "indextargets", "--format", "deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages", "Origin: Debian")
	if err != nil {
		return err
	}
	var lines []string // in apt's order: the first archive that has a version is asked for it
	for l := range strings.Lines(targets) {
		if !slices.Contains(lines, l) {
			lines = append(lines, l)
		}
	}
	if err := os.WriteFile(filepath.Join(tmp, "sources.list"), []byte(strings.Join(lines, "")), 0o644); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(tmp, "lists", "partial"), 0o755); err != nil {
		return err
	}
	apt := []string{"-qq", "-o", "Dir::Etc::SourceList=" + filepath.Join(tmp, "sources.list"), "-o", "Dir::Etc::SourceParts=/dev/null",
		"-o", "Dir::State::Lists=" + filepath.Join(tmp, "lists"), "-o", "APT::Sandbox::User=root"}
	if _, err := run("apt-get", append(apt, "update")...); err != nil {
		return err
	}
	if _, err := run("apt-get", append(apt, "--download-only", "source", pkg)...); err != nil {
		return err
	}
	dsc, err := filepath.Glob(filepath.Join(tmp, "*.dsc"))
	if err != nil || len(dsc) != 1 {
		return fmt.Errorf("apt-get left %d descriptions of %s: %v", len(dsc), pkg, err)
	}
	_, err = run("dpkg-source", "-x", dsc[0], "src")
	return err
}
