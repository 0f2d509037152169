package classify

import (
	"errors"
	"strings"
	"testing"
)

type twoAccounts struct{}

func (twoAccounts) User(name string) (uint32, error) {
	if name != "ann" {
		return 0, errors.New("nobody")
	}
	return 1000, nil
}

func (twoAccounts) Group(name string) (uint32, []uint32, error) {
	if name != "staff" {
		return 0, nil, errors.New("no group")
	}
	return 50, []uint32{1000, 1001}, nil
}

func TestParse(t *testing.T) {
	rules, err := parse(strings.NewReader(`
# comment
ann:make	cpu,memory	build/%u/%p\%  # behind
@staff  *  "a b/"
*:/usr/bin/*  *  /x
`), twoAccounts{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rules {
		group, err := r.expand(process{PID: 7, UID: 4294967290, GID: 3, Name: "a/b"})
		if err != nil {
			t.Error(err)
		}
		got = append(got, r.Who+" "+r.Process+" "+group)
	}
	want := "ann make /build/4294967290/a_b%|@staff  /a b|* /usr/bin/* /x"
	if strings.Join(got, "|") != want || len(rules[1].entries) != 3 || rules[2].Line != 5 {
		t.Errorf("%q, want %q", got, want)
	}
	b, err := rules.Entries()
	if err != nil || strings.Count(string(b), "\n") != 5 || !strings.HasPrefix(string(b), `{"key":0,"value":{"who":2,"id":1000,"number":1,`) {
		t.Errorf("entries %s, %v", b, err)
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"ann *":           "line 1: it has 2 words",
		"\nbob * x":       "line 2: nobody",
		"@wheel * x":      "no group",
		"% * x":           "no meaning",
		`ann * "x`:        "a quote has no end",
		"ann:bin/x * y":   "absolute path or a name",
		"ann:/a/../b * y": `give "/b"`,
		"ann * ../x":      "leads out",
		"ann * x/%q":      "%q is unknown",
		"ann * x%":        "stands at its end",
		"ann:/" + strings.Repeat("x", 64) + " * y": "may have 63 bytes",
		strings.Repeat("@staff * x\n", 86):         "more than 256",
	} {
		if _, err := parse(strings.NewReader(text), twoAccounts{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	r := &rule{Destination: "x/%p"}
	if _, err := r.expand(process{Name: ".."}); err == nil {
		t.Error("the name of a process leads out")
	}
	if _, err := (&Mover{}).Move(make([]byte, decisionLen)); err != errRecord {
		t.Errorf("a record without a rule: %v", err)
	}
}
