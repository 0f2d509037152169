package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/taskwatch/taskwatch/doctor"
	"github.com/taskwatch/taskwatch/test/vm"
)

// row is a row of the table: its cells, of which the first keyCells say which
// machine it is about.
type row []string

const keyCells = 3

var header = row{"Debian's kernel", "processor", "bpf in `lsm=`", "`run`", "`watch`", "kernel modules see", "and can deny"}

// The lines around the table.
const (
	beginMark = "<!-- test/vm/cmd/kerneltable writes this table -->\n"
	endMark   = "<!-- end -->\n"
)

// rowOf returns the row of a machine, nil if doctor has not run there, or a test
// has failed: then nobody knows what is true.
func rowOf(m vm.MachineResult) (row, error) {
	if len(m.Diagnosis) == 0 || m.Problem != "" {
		return nil, nil
	}
	var d doctor.Diagnosis
	if err := json.Unmarshal(m.Diagnosis, &d); err != nil {
		return nil, fmt.Errorf("the diagnosis of %s: %w", m.Package, err)
	}
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
	return row{kernel, string(m.Arch), lsm, works("bpf", "ptrace"), works("bpf", "connector"), see, deny}, nil
}

func list(words []string) string {
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, ", ")
}

// cut finds the table of a page.
func cut(text string) (before string, table []row, after string, err error) {
	before, rest, ok := strings.Cut(text, beginMark)
	middle, after, closed := strings.Cut(rest, endMark)
	if !ok || !closed {
		return "", nil, "", errors.New("it has no place for the table: two lines with " + strings.TrimSpace(beginMark) + " and " + strings.TrimSpace(endMark))
	}
	for line := range strings.Lines(middle) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "|--") || strings.HasPrefix(line, "| "+header[0]+" |") {
			continue
		}
		var r row
		for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			r = append(r, strings.TrimSpace(cell))
		}
		if len(r) != len(header) {
			return "", nil, "", fmt.Errorf("the row %q has %d cells, want %d", line, len(r), len(header))
		}
		table = append(table, r)
	}
	return before + beginMark, table, endMark + after, nil
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

func format(table []row) string {
	var b strings.Builder
	write := func(r row) { b.WriteString("| " + strings.Join(r, " | ") + " |\n") }
	write(header)
	b.WriteString(strings.Repeat("|---", len(header)) + "|\n")
	for _, r := range table {
		write(r)
	}
	return b.String()
}
