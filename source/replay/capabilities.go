package replay

import (
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/source"
)

const (
	hook   = "recording"
	scope  = "a recording"
	noVeto = "what has already happened cannot be denied"
)

// unread is what can be said of a recording that was not read: nothing that
// would narrow it down.
func unread() source.Capabilities {
	caps := source.Capabilities{Scope: scope}
	for k := range caps.Events {
		c := source.Capability{Delivered: true, Hook: hook, Why: "delivered as far as it was recorded"}
		if taskwatch.Kind(k).Vetoable() {
			c.Why += "; " + noVeto
		}
		caps.Events[k] = c
	}
	return caps
}

// scan reads to the end of the recording, or to its first bad line, and
// returns what it holds.
func scan(in *record.Reader) source.Capabilities {
	caps := source.Capabilities{Scope: scope}
	for k := range caps.Events {
		caps.Events[k] = source.Capability{
			Missing: taskwatch.FieldsOf(taskwatch.Kind(k)),
			Why:     "the recording holds none",
		}
	}
	for {
		l, err := in.Next()
		if err != nil {
			break
		}
		if l.Event != nil {
			c := &caps.Events[l.Event.Kind]
			c.Delivered = true
			c.Missing &= l.Event.Missing
			c.MayMiss |= l.Event.Missing
		}
	}
	for k := range caps.Events {
		if c := &caps.Events[k]; c.Delivered {
			c.MayMiss &^= c.Missing
			c.Hook, c.Why = hook, why(taskwatch.Kind(k), c.Missing|c.MayMiss)
		} else {
			c.Missing = 0
		}
	}
	return caps
}

// why says what a kind that the recording holds is short of.
func why(k taskwatch.Kind, missing taskwatch.Fields) string {
	var reasons []string
	if missing != 0 {
		reasons = append(reasons, "the missing fields were not recorded")
	}
	if k.Vetoable() {
		reasons = append(reasons, noVeto)
	}
	return strings.Join(reasons, "; ")
}
