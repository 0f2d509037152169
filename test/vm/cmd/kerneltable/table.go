package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/taskwatch/taskwatch/doctor"
	"github.com/taskwatch/taskwatch/test/vm"
)

// row is a row of a table: its cells, of which the first keyCells say which
// machine it is about.
type row []string

const keyCells = 3

// layout is how a table stands in its page.
type layout struct {
	begin  string // the line before it
	header row
}

// readme is the table of kernels.
var readme = layout{
	begin:  "<!-- test/vm/cmd/kerneltable writes this table -->\n",
	header: row{"Debian's kernel", "processor", "bpf in `lsm=`", "`run`", "`watch`", "kernel modules see", "and can deny"},
}

// endMark is the line behind a table.
const endMark = "<!-- end -->\n"

// key returns the first cells of a machine's row.
func key(m vm.MachineResult) row {
	lsm := "yes"
	if m.LSM == "none" {
		lsm = "no"
	}
	kernel := m.Series
	for _, param := range strings.Fields(m.Params) {
		if !strings.HasPrefix(param, "lsm=") { // which has a column
			kernel += ", " + param
		}
	}
	return row{kernel, string(m.Arch), lsm}
}

// rowOf returns the row of a machine, nil if doctor has not run there, or a test
// has failed: then nobody knows what is true.
func rowOf(m vm.MachineResult) (row, error) {
	if len(m.Diagnosis) == 0 || m.Problem != "" || m.Series == vm.Here {
		return nil, nil
	}
	var d doctor.Diagnosis
	if err := json.Unmarshal(m.Diagnosis, &d); err != nil {
		return nil, fmt.Errorf("the diagnosis of %s: %w", m.Package, err)
	}
	sources := map[string]*doctor.Source{}
	for i := range d.Sources {
		if d.Sources[i].Works {
			sources[d.Sources[i].Name] = &d.Sources[i]
		}
	}
	works := func(names ...string) string {
		return list(slices.DeleteFunc(names, func(name string) bool { return sources[name] == nil }))
	}
	see, deny := "nothing", "nothing"
	if s := sources["bpf"]; s != nil {
		var seen, denied []string
		for _, e := range s.Events {
			if e.KernelModules == doctor.Found {
				seen = append(seen, e.Event)
			}
			if e.Veto == doctor.Found {
				denied = append(denied, e.Event)
			}
		}
		see, deny = list(seen), list(denied)
		if len(seen) == len(s.Events) {
			see = "all events"
		}
		if _, how, ok := strings.Cut(d.Tier, ": veto "); ok && len(denied) > 0 {
			deny += ", " + how
		}
	}
	return append(key(m), works("bpf", "ptrace"), works("bpf", "connector"), see, deny), nil
}

func list(words []string) string {
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, ", ")
}

// cut finds the table of a page.
func (l layout) cut(text string) (before string, table []row, after string, err error) {
	before, rest, ok := strings.Cut(text, l.begin)
	middle, after, closed := strings.Cut(rest, endMark)
	if !ok || !closed {
		return "", nil, "", errors.New("it has no place for the table: two lines with " + strings.TrimSpace(l.begin) + " and " + strings.TrimSpace(endMark))
	}
	for line := range strings.Lines(middle) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "|--") || strings.HasPrefix(line, "| "+l.header[0]+" |") {
			continue
		}
		var r row
		for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			r = append(r, strings.TrimSpace(cell))
		}
		if len(r) != len(l.header) {
			return "", nil, "", fmt.Errorf("the row %q has %d cells, want %d", line, len(r), len(l.header))
		}
		table = append(table, r)
	}
	return before + l.begin, table, endMark + after, nil
}

// merge puts rows into a table, in place of those of the same machines.
func merge(table, rows []row) []row {
	byMachine := map[string]row{}
	for _, r := range append(slices.Clone(table), rows...) {
		byMachine[strings.Join(r[:keyCells], "|")] = r
	}
	var merged []row
	for _, r := range byMachine {
		merged = append(merged, r)
	}
	slices.SortFunc(merged, func(a, b row) int {
		return cmp.Or(cmp.Compare(a[1], b[1]), cmp.Compare(minor(a[0]), minor(b[0])), cmp.Compare(a[0], b[0]), cmp.Compare(b[2], a[2]))
	})
	return merged
}

// minor returns the second number of a series.
func minor(series string) int {
	_, rest, _ := strings.Cut(series, ".")
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	n, _ := strconv.Atoi(rest[:end]) // 0 if it is none
	return n
}

func (l layout) format(table []row) string {
	var b strings.Builder
	write := func(r row) { b.WriteString("| " + strings.Join(r, " | ") + " |\n") }
	write(l.header)
	b.WriteString(strings.Repeat("|---", len(l.header)) + "|\n")
	for _, r := range table {
		write(r)
	}
	return b.String()
}

// hold compares the table of a page with what was seen, or writes that into it.
func (l layout) hold(page, text string, seen []row, write bool) error {
	before, table, after, err := l.cut(text)
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	if write {
		return os.WriteFile(page, []byte(before+l.format(merge(table, seen))+after), 0o644)
	}
	missing := slices.DeleteFunc(slices.Clone(seen), func(r row) bool {
		return slices.ContainsFunc(table, func(old row) bool { return slices.Equal(old, r) })
	})
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%s does not say what was seen, which is:\n%srun it with -write", page, l.format(missing))
}
