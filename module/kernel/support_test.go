package kernel

import (
	"testing"

	"github.com/taskwatch/taskwatch/internal/features"
)

// What doctor says of the kernel's hooks, by a probe of its own, is what a table
// goes by.
func TestProbesAgree(t *testing.T) {
	s := support(t)
	for _, c := range []struct {
		feature *features.Feature
		err     error
	}{
		{features.LSM, s.LSM},
		{features.FmodRet, s.ModifyReturn},
		{features.Fentry, s.FEntry},
	} {
		if r := c.feature.Probe(); (r.Answer == features.Yes) != (c.err == nil) {
			t.Errorf("%s: doctor says %v, and a table %v", c.feature.Name, r, c.err)
		}
	}
}
