package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// maxBinary is how large a binary may be, in bytes.
const maxBinary = 40 << 20

// arches are the processors of a release.
var arches = []string{"amd64", "arm64"}

// release is what is made, and from what.
type release struct {
	source  string // the root of the repository, and then of a copy of the commit
	out     string // where the files go
	work    string // for what is only needed meanwhile
	version string // like v1.2.3
	commit  string
	time    time.Time // of the commit
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run() error {
	r := &release{}
	flag.StringVar(&r.source, "source", "..", "the `directory` of the repository")
	flag.StringVar(&r.out, "o", "", "the `directory` to write to; it is made")
	flag.StringVar(&r.version, "version", "", "the `version`, like v1.2.3 (default what git describes)")
	flag.Parse()
	if r.out == "" || flag.NArg() > 0 {
		return fmt.Errorf("name the directory to write to with -o, and nothing else")
	}
	if err := r.prepare(); err != nil {
		return err
	}
	defer os.RemoveAll(r.work)
	if err := r.shared(); err != nil {
		return err
	}
	for _, p := range products {
		for _, arch := range arches {
			if err := r.arch(p, arch); err != nil {
				return fmt.Errorf("%s: %s: %w", p.name, arch, err)
			}
		}
		if err := r.image(p); err != nil {
			return fmt.Errorf("%s: image: %w", p.name, err)
		}
	}
	return r.checksums()
}

// prepare fills in what git knows, and makes the directories.
func (r *release) prepare() (err error) {
	if r.source, err = filepath.Abs(r.source); err != nil {
		return err
	}
	if r.out, err = filepath.Abs(r.out); err != nil {
		return err
	}
	if r.commit, err = r.command("git", "rev-parse", "HEAD"); err != nil {
		return err
	}
	when, err := r.command("git", "show", "-s", "--format=%cI", "HEAD")
	if err != nil {
		return err
	}
	if r.time, err = time.Parse(time.RFC3339, when); err != nil {
		return err
	}
	r.time = r.time.UTC()
	if r.version == "" {
		if r.version, err = r.command("git", "describe", "--tags", "--match", "v[0-9]*"); err != nil {
			return fmt.Errorf("there is no tag; make one (git tag v1.2.3) or give -version v1.2.3: %w", err)
		}
	}
	if !strings.HasPrefix(r.version, "v") {
		return fmt.Errorf("-version %q: a version begins with v, like v1.2.3", r.version)
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	if r.work, err = os.MkdirTemp("", "taskwatch-release-"); err != nil {
		return err
	}
	return r.export()
}

// export copies the sources of the commit, so that nothing else can get into a
// release, and builds from there.
func (r *release) export() error {
	archive, sources := filepath.Join(r.work, "source.tar"), filepath.Join(r.work, "source")
	if err := os.Mkdir(sources, 0o755); err != nil {
		return err
	}
	if _, err := r.command("git", "archive", "--format=tar", "-o", archive, r.commit); err != nil {
		return err
	}
	if _, err := r.command("tar", "-xf", archive, "-C", sources); err != nil {
		return err
	}
	r.source = sources
	return nil
}

// base is how the names of the files of a product begin.
func (r *release) base(p *product, arch string) string {
	return p.name + "_" + strings.TrimPrefix(r.version, "v") + "_linux_" + arch
}

// arch makes the files of a product for one processor.
func (r *release) arch(p *product, arch string) error {
	tree, err := r.tree(p, arch)
	if err != nil {
		return err
	}
	if err := r.sbom(p, arch); err != nil {
		return err
	}
	if err := r.archive(p, arch, tree); err != nil {
		return err
	}
	for _, kind := range []string{"deb", "rpm"} {
		if err := r.pack(p, kind, arch, tree); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

// checksums writes the SHA-256 sums of all files, in the form of sha256sum(1).
func (r *release) checksums() error {
	list, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	var lines []string
	for _, e := range list {
		if e.Name() == "SHA256SUMS" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(r.out, e.Name()))
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("%x  %s\n", sha256.Sum256(b), e.Name()))
	}
	slices.Sort(lines)
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(strings.Join(lines, "")), 0o644)
}
