package label

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestLabel(t *testing.T) {
	for in, want := range map[string]string{ // "" is what is not taken
		"job-7":                            "job-7",
		"a":                                "a",
		"0123456789abcdef":                 "0123456789abcdef",
		"0AF7651916CD43DD8448EB211C80319C": "0af7651916cd43dd8448eb211c80319c",
		"61626364656667686162636465666768": "61626364656667686162636465666768", // printable, and an id
		"ci/build:17@x+y=z":                "",
		"ci/build:7@x+y=z":                 "ci/build:7@x+y=z",
		"":                                 "",
		"0123456789abcdefg":                "",
		"two words":                        "",
		`a"b`:                              "",
		"ä":                                "",
		"a\x00b":                           "",
		strings.Repeat("0", 32):            "",
		strings.Repeat("0", 31) + "g":      "",
		strings.Repeat("0", 34):            "",
	} {
		l, err := Parse(in)
		if got := l.String(); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is read as %q, %v; want %q", in, got, err, want)
			continue
		}
		if want == "" {
			continue
		}
		if isID := l.ID() != [Size]byte{}; isID != (len(in) == 2*Size) {
			t.Errorf("%q is an id: %v", in, isID)
		}
		b, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		var back Label
		if err := json.Unmarshal(b, &back); err != nil || back != l {
			t.Errorf("%q: %s is read as %v, %v", in, b, back, err)
		}
	}
	for _, in := range []string{`{}`, `{"bytes":[1],"form":1}`, `[]`, `{"bytes":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0],"form":3}`} {
		if err := new(Label).UnmarshalJSON([]byte(in)); err == nil {
			t.Errorf("%s is read as a label", in)
		}
	}
}
