package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // registers itself
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm" // registers itself
)

// ownDirs returns the directories of a tree that have the name of the product, and
// those below: rpm removes with a package only what it lists.
func (p *product) ownDirs(tree []file) (dirs []string) {
	for _, f := range tree {
		for dir := filepath.Dir(f.path); slices.Contains(strings.Split(dir, "/"), p.name); dir = filepath.Dir(dir) {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// pack makes a package of a product: kind is deb or rpm.
func (r *release) pack(p *product, kind, arch string, tree []file) error {
	staged := filepath.Join(r.work, p.name+"-"+kind+"-"+arch)
	info := &nfpm.Info{
		Name: p.name, Arch: arch, Platform: "linux", Version: r.version, MTime: r.time,
		Section: "utils", Priority: "optional", License: "Apache-2.0",
		Maintainer: "The taskwatch developers <taskwatch@localhost>", Homepage: "https://github.com/taskwatch/taskwatch",
		Description: p.summary + "\n" + p.description,
	}
	info.RPM.Summary = p.summary
	info.RPM.BuildHost = "localhost"
	info.Deb.Compression = "xz"
	for _, f := range tree {
		from := filepath.Join(staged, f.path)
		if err := os.MkdirAll(filepath.Dir(from), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(from, f.content, 0o644); err != nil {
			return err
		}
		c := &files.Content{Source: from, Destination: f.path, FileInfo: &files.ContentFileInfo{Mode: f.mode, MTime: r.time, Owner: "root", Group: "root"}}
		if slices.Contains(p.config, f.path) {
			c.Type = files.TypeConfigNoReplace
		}
		info.Contents = append(info.Contents, c)
	}
	for _, dir := range p.ownDirs(tree) {
		info.Contents = append(info.Contents, &files.Content{Destination: dir, Type: files.TypeDir, FileInfo: &files.ContentFileInfo{Mode: 0o755, MTime: r.time, Owner: "root", Group: "root"}})
	}
	scripts := filepath.Join(r.source, "release", "scripts", p.name)
	info.Scripts = nfpm.Scripts{
		PostInstall: filepath.Join(scripts, "postinstall"), PreRemove: filepath.Join(scripts, "preremove"), PostRemove: filepath.Join(scripts, "postremove"),
	}
	info = nfpm.WithDefaults(info)
	if err := nfpm.PrepareForPackager(info, kind); err != nil {
		return err
	}
	packager, err := nfpm.Get(kind)
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(r.out, packager.ConventionalFileName(info)))
	if err != nil {
		return err
	}
	if err := packager.Package(info, f); err != nil {
		f.Close()
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	return f.Close()
}
