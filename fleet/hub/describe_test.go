package hub

import (
	"testing"

	"github.com/taskwatch/taskwatch/fleet"
)

// The audit trail says what an entry wants as people write it, and nothing in an entry can
// pass for another part of the line.
func TestDescribe(t *testing.T) {
	for want, e := range map[string]fleet.Entry{
		"wants module m unloaded, generation 7":                                            {Module: "m", Generation: 7, Absent: true},
		"wants module m, generation 7, digest d, on all nodes":                             {Module: "m", Generation: 7, Digest: "d"},
		"wants module m, generation 7, digest d, on nodes for which `role == \"ci\"`":      {Module: "m", Generation: 7, Digest: "d", Select: `role == "ci"`},
		"wants module m, generation 7, digest d, on all nodes, with limit=500 path=/a/b":   {Module: "m", Generation: 7, Digest: "d", Params: map[string]string{"path": "/a/b", "limit": "500"}},
		"wants module m, generation 7, digest d, on all nodes, with a=`1 b=2` c=`` e=`x,`": {Module: "m", Generation: 7, Digest: "d", Params: map[string]string{"a": "1 b=2", "c": "", "e": "x,"}},
		"wants module m, generation 7, digest d, on all nodes, with a=\"`\\n\"":            {Module: "m", Generation: 7, Digest: "d", Params: map[string]string{"a": "`\n"}},
		"wants module m, generation 7, digest d, on all nodes, in a rollout through p, from registry.example/m": {
			Module: "m", Generation: 7, Digest: "d", Through: "p", Registry: "registry.example/m",
		},
	} {
		if got := describe(&e); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}
