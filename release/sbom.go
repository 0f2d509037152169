package main

import (
	"debug/buildinfo"
	"os"
	"path/filepath"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// sbom writes what the binary of a product is made of, as it says itself: the
// modules of Go and the standard library.
func (r *release) sbom(p *product, arch string) error {
	info, err := buildinfo.ReadFile(r.program(p, arch))
	if err != nil {
		return err
	}
	purl := func(path, version string) string { return "pkg:golang/" + path + "@" + version }
	version := strings.TrimPrefix(r.version, "v")
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{
		Timestamp: r.time.Format(time.RFC3339),
		Component: &cdx.Component{
			Type: cdx.ComponentTypeApplication, Name: p.name, Version: version,
			BOMRef: purl(info.Main.Path, r.version), PackageURL: purl(info.Main.Path, r.version),
			Licenses: &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}},
		},
	}
	std := "go" + strings.TrimPrefix(info.GoVersion, "go")
	parts := []cdx.Component{{Type: cdx.ComponentTypeLibrary, Name: "std", Version: std, BOMRef: purl("std", std), PackageURL: purl("std", std)}}
	for _, m := range info.Deps {
		path, version := m.Path, m.Version
		switch {
		case m.Replace != nil && m.Replace.Version != "" && !strings.HasPrefix(m.Replace.Path, "."):
			path, version = m.Replace.Path, m.Replace.Version
		case m.Replace != nil: // by another directory of this repository
			version = r.version
		}
		parts = append(parts, cdx.Component{
			Type: cdx.ComponentTypeLibrary, Name: path, Version: version, BOMRef: purl(path, version), PackageURL: purl(path, version),
		})
	}
	bom.Components = &parts
	f, err := os.Create(filepath.Join(r.out, r.base(p, arch)+".cdx.json"))
	if err != nil {
		return err
	}
	if err := cdx.NewBOMEncoder(f, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
