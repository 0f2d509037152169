package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch/internal/table"
	stock "github.com/taskwatch/taskwatch/modules"
)

// stockModule returns the stock module that name stands for, or nil. A file of
// that name goes before.
func stockModule(name string) *stock.Module {
	if _, err := os.Lstat(name); err == nil {
		return nil
	}
	return stock.Find(name)
}

// completeStock returns the names that begin with what was begun.
func completeStock(begun string) (names []string) {
	for _, m := range stock.All() {
		if strings.HasPrefix(m.Name, begun) {
			names = append(names, m.Name)
		}
	}
	return names
}

func newModuleList() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the stock modules, which come with taskwatch",
		Long: `list shows the modules that come with taskwatch. Their names stand for files
wherever a command takes the file of a module, unless there is a file of that
name: no compiler is needed. 'taskwatch module info NAME' shows the parameters,
and 'taskwatch module new --from NAME' writes the source.`,
		Example: `  taskwatch module list
  taskwatch module info forkguard
  sudo taskwatch watch -m acct --globals -e exit
  sudo taskwatch insmod forkguard limit=500`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(format); err != nil {
				return &exitError{status: exitUsage, err: err}
			}
			list := stockTable{}
			for _, m := range stock.All() {
				s := listedStock{Name: m.Name, Kind: "kernel", Built: m.Object() != nil, Description: m.Summary}
				if m.Sandboxed() {
					s.Kind = "wasm"
				}
				list = append(list, s)
			}
			return show(cmd, format, list)
		},
	}
	addFormat(cmd, &format)
	return cmd
}

// listedStock is a stock module as 'module list' shows it in JSON.
type listedStock struct {
	Name        string `json:"name"`
	Kind        string `json:"kind"`
	Built       bool   `json:"built"`
	Description string `json:"description"`
}

type stockTable []listedStock

func (list stockTable) write(w io.Writer) error {
	t := table.NewLeft("MODULE", "KIND", "WHAT IT DOES")
	for _, m := range list {
		what := m.Description
		if !m.Built {
			what += " (a source in Go, to be built first)"
		}
		t.Row(m.Name, m.Kind, what)
	}
	return t.Write(w)
}

// copyStock writes the source of a stock module to a file, by default one of its
// name.
func copyStock(w io.Writer, name string, args []string) error {
	m := stock.Find(name)
	if m == nil {
		return moduleFailed(fmt.Errorf("--from %q: there is no such stock module; 'taskwatch module list' shows them", name))
	}
	file, source := m.Source()
	if len(args) > 0 {
		if st, err := os.Stat(args[0]); err == nil && st.IsDir() {
			return moduleFailed(fmt.Errorf("module new %q: it is a directory; name a file in it: %s", args[0], filepath.Join(args[0], file)))
		}
		if filepath.Ext(args[0]) != filepath.Ext(file) {
			return moduleFailed(fmt.Errorf("module new %q: %s is written in another language; name a file NAME%s", args[0], name, filepath.Ext(file)))
		}
		file = args[0]
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return moduleFailed(fmt.Errorf("module new %q: %w; name a file that does not exist yet", file, cause(err)))
	}
	_, err = f.Write(source)
	if err := errors.Join(err, f.Close()); err != nil {
		return moduleFailed(err)
	}
	return sayBuild(w, file)
}
