package vm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// MachineResult is what a machine of a matrix has shown, in files a line of
// JSON each.
type MachineResult struct {
	Arch    Arch   `json:"arch"`
	Series  string `json:"series"`
	LSM     string `json:"lsm"`              // the variant of lsm=
	Params  string `json:"params,omitempty"` // more kernel parameters
	Package string `json:"package"`
	Passed  int    `json:"passed"`
	Skipped int    `json:"skipped"`
	Problem string `json:"problem,omitempty"`

	// Tests has what became of each test, by its package, without the module's path,
	// and its name: Pass, Fail, or the reason why it was skipped. With OthersPassed,
	// all that are not there have passed, and skipped ones are without a package.
	Tests        map[string]string `json:"tests,omitempty"`
	OthersPassed bool              `json:"others_passed,omitempty"`

	Diagnosis json.RawMessage `json:"diagnosis,omitempty"` // what doctor found there
}

// Here is the series of the machine that boots the others.
const Here = "here"

// What became of a test that was not skipped.
const (
	Pass = "pass"
	Fail = "fail"
)

// AppendResults adds results to a file.
func AppendResults(name string, results []MachineResult) error {
	var text []byte
	for _, r := range results {
		line, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("vm: results: %w", err)
		}
		text = append(append(text, line...), '\n')
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("vm: results: %w", err)
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("vm: results: %w", err)
	}
	return nil
}

// ReadResults reads them.
func ReadResults(name string) (list []MachineResult, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("vm: results: %w", err)
	}
	defer f.Close()
	for dec := json.NewDecoder(f); ; {
		var r MachineResult
		if err := dec.Decode(&r); err == io.EOF {
			return list, nil
		} else if err != nil {
			return nil, fmt.Errorf("vm: results: %s: %w", name, err)
		}
		list = append(list, r)
	}
}
