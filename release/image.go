package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// image writes an OCI image of a product for all processors as one archive
// (oci-archive: of skopeo and podman). It has no base: the binary, what belongs to
// it, licences, and the certificates of authorities where the program needs them.
func (r *release) image(p *product) error {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range arches {
		image, err := r.imageFor(p, arch)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "linux", Architecture: arch},
		}})
	}
	dir := filepath.Join(r.work, "oci", p.name)
	if _, err := layout.Write(dir, mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{
		Add: index, Descriptor: v1.Descriptor{Annotations: map[string]string{
			"org.opencontainers.image.ref.name": p.name + ":" + strings.TrimPrefix(r.version, "v"), // the name after "podman load"
		}},
	})); err != nil {
		return err
	}
	var files []file
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		files = append(files, file{path: "/" + name, mode: 0o644, content: b})
		return err
	})
	if err != nil {
		return err
	}
	b, err := tarOf(files, r.time)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, p.name+"_"+strings.TrimPrefix(r.version, "v")+"_oci.tar"), b, 0o644)
}

func (r *release) imageFor(p *product, arch string) (v1.Image, error) {
	tree, err := r.tree(p, arch)
	if err != nil {
		return nil, err
	}
	var files []file
	for _, f := range tree {
		for _, part := range p.image.parts {
			if strings.HasPrefix(f.path, part) {
				files = append(files, f)
			}
		}
		if base := filepath.Base(f.path); strings.Contains(base, "LICENSE") || strings.HasSuffix(base, ".txt") {
			files = append(files, f)
		}
	}
	if p.image.volume != "" {
		files = append(files, file{path: p.image.volume, mode: os.ModeDir | 0o700, owner: p.image.user})
	}
	if p.image.roots {
		text, err := roots()
		if err != nil {
			return nil, err
		}
		files = append(files, file{path: rootsFile, mode: 0o644, content: text})
	}
	b, err := tarOf(files, r.time)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil },
		tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: r.time}, CreatedBy: "taskwatch release"}})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Architecture, config.OS, config.Created = arch, "linux", v1.Time{Time: r.time}
	config.Config.Entrypoint = []string{"/usr/bin/" + p.name}
	config.Config.Cmd = p.image.command
	config.Config.Env = []string{"PATH=/usr/bin"}
	if p.image.user != 0 {
		config.Config.User = fmt.Sprintf("%d:%d", p.image.user, p.image.user)
	}
	if p.image.volume != "" {
		config.Config.Volumes = map[string]struct{}{p.image.volume: {}}
	}
	if p.image.port != "" {
		config.Config.ExposedPorts = map[string]struct{}{p.image.port: {}}
	}
	config.Config.Labels = map[string]string{
		"org.opencontainers.image.title": p.name, "org.opencontainers.image.version": strings.TrimPrefix(r.version, "v"),
		"org.opencontainers.image.revision": r.commit, "org.opencontainers.image.licenses": "Apache-2.0",
	}
	image, err = mutate.ConfigFile(image, config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", arch, err)
	}
	return image, nil
}
