package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/taskwatch/taskwatch/doctor"
	"github.com/taskwatch/taskwatch/test/vm"
)

// moduleMark is the line before the table of a module's page. It names the module's
// tests: PACKAGE TEST...; PACKAGE TEST...
var moduleMark = regexp.MustCompile(`(?m)^<!-- test/vm/cmd/kerneltable writes this table of (.*) -->\n`)

// holdModule compares what the page of a module says that its tests have passed on with
// what machines have shown, or writes it. A page says nothing of machines that have no
// row. root is the directory of the packages.
func holdModule(page, root string, machines []vm.MachineResult, write bool) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	mark := moduleMark.FindSubmatch(text)
	if mark == nil {
		return nil // it says nothing
	}
	tests, err := testsOf(string(mark[1]), root)
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	l := layout{begin: string(mark[0]), header: row{"Debian's kernel", "processor", "bpf in `lsm=`", "its tests"}}
	seen, err := passedOn(machines, tests)
	if err != nil {
		return err
	}
	if !write {
		_, table, _, err := l.cut(string(text))
		if err != nil {
			return fmt.Errorf("%s: %w", page, err)
		}
		seen = slices.DeleteFunc(seen, func(r row) bool { // of which the page says nothing
			return !slices.ContainsFunc(table, func(old row) bool { return slices.Equal(old[:keyCells], r[:keyCells]) })
		})
	}
	return l.hold(page, string(text), seen, write)
}

// testsOf returns the tests that a mark names, each as in vm.MachineResult. Each must
// be there.
func testsOf(mark, root string) (tests []string, err error) {
	for part := range strings.SplitSeq(mark, ";") {
		words := strings.Fields(part)
		if len(words) < 2 {
			return nil, fmt.Errorf("%q names no tests: want PACKAGE TEST...", part)
		}
		files, err := filepath.Glob(filepath.Join(root, words[0], "*_test.go"))
		if err != nil {
			return nil, err
		}
		var source []byte
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			source = append(source, text...)
		}
		for _, name := range words[1:] {
			if !bytes.Contains(source, []byte("\nfunc "+name+"(")) {
				return nil, fmt.Errorf("there is no %s in %s; name the tests that there are", name, words[0])
			}
			tests = append(tests, words[0]+" "+name)
		}
	}
	return tests, nil
}

// hereCell begins the first cell of the machine that boots the others.
const hereCell = "the gate's own: Linux "

// passedOn returns a row for each machine in which some of the tests ran, and none of
// any failed.
func passedOn(machines []vm.MachineResult, tests []string) (rows []row, err error) {
	type machine struct {
		key    row
		passed map[string]bool
		lacks  map[string]bool // what was skipped for want of something in the machine
	}
	byKey := map[string]*machine{}
	for _, m := range machines {
		if m.Problem != "" {
			continue
		}
		k := key(m)
		if m.Series == vm.Here {
			if k, err = hereKey(m); err != nil {
				return nil, err
			}
		}
		found := byKey[strings.Join(k, "|")]
		if found == nil {
			found = &machine{key: k, passed: map[string]bool{}, lacks: map[string]bool{}}
			byKey[strings.Join(k, "|")] = found
		}
		for _, test := range tests {
			_, name, _ := strings.Cut(test, " ")
			if m.OthersPassed {
				found.passed[test] = true
				test = name // skipped ones have no package
			}
			for key, what := range m.Tests {
				switch {
				case key != test && !strings.HasPrefix(key, test+"/"):
				case what == vm.Pass:
					found.passed[test] = found.passed[test] || key == test
				case !skippedByChoice(what):
					found.lacks[key[strings.LastIndex(key, " ")+1:]] = true
				}
			}
		}
	}
	for _, m := range byKey {
		var not []string
		ran := false
		for _, test := range tests {
			_, name, _ := strings.Cut(test, " ")
			switch {
			case m.lacks[name] || !m.passed[test]:
				not = append(not, name)
			default:
				ran = true
				for key := range m.lacks {
					if strings.HasPrefix(key, name+"/") {
						not = append(not, key)
					}
				}
			}
		}
		slices.Sort(not)
		cell := "pass"
		switch {
		case !ran && len(m.lacks) == 0:
			continue // no machine of this test's
		case !ran:
			cell = "not run"
		case len(not) > 0:
			cell = "pass; not run: " + strings.Join(slices.Compact(not), ", ")
		}
		rows = append(rows, append(m.key, cell))
	}
	return merge(nil, rows), nil
}

// skippedByChoice reports whether a reason says nothing about the machine.
func skippedByChoice(reason string) bool {
	return strings.Contains(reason, "needs time: ") || strings.Contains(reason, "needs the nightly run: ")
}

func hereKey(m vm.MachineResult) (row, error) {
	var d doctor.Diagnosis
	if err := json.Unmarshal(m.Diagnosis, &d); err != nil {
		return nil, fmt.Errorf("the diagnosis of this machine: %w", err)
	}
	return row{hereCell + d.Kernel, string(m.Arch), ""}, nil
}

// addHere adds this machine to results.
func addHere(skips, diagnosis, results string) error {
	text, err := os.ReadFile(skips)
	if err != nil {
		return err
	}
	found, err := os.ReadFile(diagnosis)
	if err != nil || !json.Valid(found) {
		return errors.Join(err, fmt.Errorf("%q is not what doctor has found", diagnosis))
	}
	m := vm.MachineResult{Arch: vm.HostArch, Series: vm.Here, Diagnosis: json.RawMessage(found), OthersPassed: true, Tests: map[string]string{}}
	for line := range strings.Lines(string(text)) {
		if name, reason, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			m.Tests[name] = reason
		}
	}
	return vm.AppendResults(results, []vm.MachineResult{m})
}
