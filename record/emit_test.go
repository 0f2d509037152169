package record

import (
	"bytes"
	"testing"

	"github.com/taskwatch/taskwatch"
)

// What is JSON stands in the line as such, without the space between its
// parts, and everything else in hexadecimal.
func TestEmitJSON(t *testing.T) {
	for data, want := range map[string]string{
		"{}":                     `"json":{}`,
		" {\n \"a\": [1, 2] }\n": `"json":{"a":[1,2]}`,
		"[]":                     `"json":[]`,
		"[\"<&>\"]":              `"json":["<&>"]`,
		"":                       `"data":""`,
		"1":                      `"data":"31"`, // may be anything
		"null":                   `"data":"6e756c6c"`,
		"{":                      `"data":"7b"`,
		"{}\x00":                 `"data":"7b7d00"`,
		"{}{}":                   `"data":"7b7d7b7d"`,
		"[\"\xff\"]":             `"data":"5b22ff225d"`,
		"[\"\x1b\"]":             `"data":"5b221b225d"`,
		"[\"\u009b\"]":           `"data":"5b22c29b225d"`, // as good as an escape to a terminal
		"[\"\u2028\"]":           `"data":"5b22e280a8225d"`,
	} {
		line := Append(nil, taskwatch.Item{Record: &taskwatch.Record{Module: "m", Data: []byte(data)}})
		if !bytes.Contains(line, []byte(`"m",`+want+`,`)) || bytes.Count(line, []byte("\n")) != 1 {
			t.Errorf("%q is recorded as %s", data, line)
		}
		l, err := Decode(line)
		if err != nil {
			t.Fatal(err)
		}
		if again := Append(nil, l); !bytes.Equal(again, line) {
			t.Errorf("%s was recorded again as %s", line, again)
		}
	}
}
