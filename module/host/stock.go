package host

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/taskwatch/taskwatch/internal/label"
)

// pathParams are the parameters of stock modules that are compared with absolute paths.
var pathParams = map[string]string{"auditrec": "exe", "execguard": "prefix", "execrule": "program", label.Module: "exe"}

// labelRules are the parameters of label that say which process gets the label.
var labelRules = []string{"children", "exe", "uid"}

// checkMeaning returns the error of parameters with which a stock module would do
// nothing, and say nothing, because of what they mean.
func (f *File) checkMeaning(params map[string]string) error {
	if name := pathParams[f.stock]; params[name] != "" && !strings.HasPrefix(params[name], "/") {
		return fmt.Errorf("parameter %s=%s: give an absolute path, which begins with /", name, params[name])
	}
	if f.stock != label.Module {
		return nil
	}
	value := params["value"]
	if value != "" {
		if _, err := label.Parse(value); err != nil {
			return fmt.Errorf("parameter value: %w", err)
		}
	}
	given := func(name string) bool { _, ok := params[name]; return ok }
	switch rule := slices.IndexFunc(labelRules, given); {
	case rule >= 0 && value == "":
		return fmt.Errorf("parameter %s: it says which process gets a label, and not which; give value=LABEL, too", labelRules[rule])
	case rule < 0 && value != "":
		return errors.New("parameter value: no rule says which process gets it; give children, exe or uid, too")
	}
	return nil
}
