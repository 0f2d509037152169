package main

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch/module/host"
	"github.com/taskwatch/taskwatch/source/auto"
)

// What a release sets with -ldflags -X; the rest comes from what the go
// command records.
var (
	releaseVersion string // the tag, like v1.2.3
	releaseCommit  string // its hash
	releaseTime    string // of the commit, in the form of RFC 3339
)

// buildFacts says which program this is, and what is built into it.
type buildFacts struct {
	Version  string   `json:"version"`
	Commit   string   `json:"commit,omitempty"`
	Time     string   `json:"time,omitempty"` // of the commit
	Modified bool     `json:"modified"`       // the sources were not those of the commit
	Go       string   `json:"go"`
	Platform string   `json:"platform"`
	Sources  []string `json:"sources"`
	Modules  []string `json:"modules"` // the kinds that it loads
	Formats  []string `json:"formats"` // that it writes, by the endings of their files
}

func newVersion() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the version, the commit, and what is built in",
		Long: `version shows which taskwatch this is: its version and commit, the Go that built
it, and the sources, kinds of modules and formats of files that it has.`,
		Example: "  taskwatch version\n  taskwatch version -f json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(format); err != nil {
				return &exitError{status: exitUsage, err: err}
			}
			return show(cmd, format, facts())
		},
	}
	addFormat(cmd, &format)
	return cmd
}

// facts returns what the build recorded.
func facts() *buildFacts {
	f := &buildFacts{
		Version: releaseVersion, Commit: releaseCommit, Time: releaseTime,
		Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Modules: []string{host.Kernel, host.Sandbox},
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		f.Version = cmp.Or(f.Version, info.Main.Version)
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				f.Commit = cmp.Or(f.Commit, s.Value)
			case "vcs.time":
				f.Time = cmp.Or(f.Time, s.Value)
			case "vcs.modified":
				f.Modified = s.Value == "true"
			}
		}
	}
	f.Version = cmp.Or(f.Version, "(unknown)")
	for _, name := range slices.Concat(auto.Names(), commandSourceNames(), []string{"replay"}) {
		if name != auto.Name && !slices.Contains(f.Sources, name) {
			f.Sources = append(f.Sources, name)
		}
	}
	for _, format := range formats {
		f.Formats = append(f.Formats, format.endings...)
	}
	return f
}

// write writes a fact a line.
func (f *buildFacts) write(w io.Writer) error {
	var b strings.Builder
	line := factLines(&b)
	line("version", "%s", f.Version)
	if f.Commit != "" {
		text := f.Commit
		if f.Modified {
			text += ", with changes"
		}
		line("commit", "%s", text)
	}
	if f.Time != "" {
		line("time", "%s", f.Time)
	}
	line("go", "%s", f.Go)
	line("platform", "%s", f.Platform)
	line("sources", "%s", strings.Join(f.Sources, ", "))
	line("modules", "%s", strings.Join(f.Modules, ", "))
	line("formats", "%s", strings.Join(f.Formats, ", "))
	_, err := io.WriteString(w, b.String())
	return err
}

// version returns the version in one line.
func version() string {
	f := facts()
	return fmt.Sprintf("%s %s %s", f.Version, f.Platform, f.Go)
}

// writeVersion is --version.
func writeVersion(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "taskwatch %s\n", version()); err != nil {
		return &exitError{status: exitFailed, err: err}
	}
	return nil
}

// built returns the time of the source, so that man pages do not depend on
// when they were made, or nil if the build did not record it. The variable
// SOURCE_DATE_EPOCH stands in for it then.
func built() *time.Time {
	t, err := time.Parse(time.RFC3339, facts().Time)
	if err != nil {
		return nil
	}
	return &t
}
