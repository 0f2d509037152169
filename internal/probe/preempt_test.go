package probe

import (
	"testing"

	"github.com/taskwatch/taskwatch/internal/plan"
)

func TestParsePreemption(t *testing.T) {
	for text, want := range map[string]plan.Preemption{
		"none voluntary (full)\n":    plan.PreemptFull,
		"(none) voluntary full lazy": plan.PreemptNone,
		"none (voluntary) full":      plan.PreemptVoluntary,
		"full (lazy)":                plan.PreemptLazy,
		"(undefined)":                plan.PreemptUnknown,
		"none voluntary full":        plan.PreemptUnknown,
		"(full":                      plan.PreemptUnknown,
		"":                           plan.PreemptUnknown,
	} {
		if got := parse(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
