package host

import (
	"fmt"
	"strings"

	"github.com/taskwatch/taskwatch/module/kernel"
)

// SplitContents takes what is meant for maps out of the parameters of a module
// file, MAP=@FILE, and reads the files with read.
func SplitContents(file []byte, params map[string]string, read func(name string) ([]byte, error)) (rest map[string]string, contents map[string][]byte, err error) {
	if kind, err := kindOf(file); err != nil || kind != Kernel || !anyFile(params) {
		return params, nil, nil
	}
	o, err := kernel.Parse("file", file)
	if err != nil {
		return params, nil, nil // whoever loads it says so
	}
	rest, contents = map[string]string{}, map[string][]byte{}
	isMap := map[string]bool{}
	for _, m := range o.Maps() {
		isMap[m.Name] = true
	}
	for name, value := range params {
		path, ok := strings.CutPrefix(value, "@")
		if !ok || !isMap[name] {
			rest[name] = value
			continue
		}
		if contents[name], err = read(path); err != nil {
			return nil, nil, fmt.Errorf("%s=%s: %w", name, value, err)
		}
	}
	return rest, contents, nil
}

func anyFile(params map[string]string) bool {
	for _, value := range params {
		if strings.HasPrefix(value, "@") {
			return true
		}
	}
	return false
}
