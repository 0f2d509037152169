package hub

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
)

// malformed are messages that no client of ours sends, for each subject that one may use.
func malformed(t *testing.T) (all []string) {
	t.Helper()
	noise := make([]byte, maxPayload-1<<10)
	_, _ = rand.Read(noise) // it never fails
	const digest = "9f5507227c2cc9c07c4c0dfbfb57508494cfdfa2416521d1f8b4e641b8a6d0d6"
	all = []string{
		"", "{", "null", "[]", `"x"`, "7", string(noise), strings.Repeat("[", 400_000), strings.Repeat(`{"entry":`, 50_000),
		`{"op":"put"}`, `{"op":"put","entry":{}}`, `{"op":"put","entry":{"text":"null","signature":"x"}}`, `{"op":"put","entry":{"text":"{}"}}`,
		`{"op":"module","digest":"../x","offset":-1}`, `{"op":"module","digest":"` + digest + `","offset":-1}`,
		`{"op":"upload","digest":"` + digest + `","size":33554432,"offset":9223372036854775807}`, `{"op":"upload","digest":"` + digest + `","size":1}`,
		`{"op":"nodes","revision":18446744073709551615}`, `{"op":"audit","revision":18446744073709551615}`, `{"op":"desired","after":"\u0000"}`,
		`{"op":"record"}`, `{"op":"recorded"}`, `{"op":"forget"}`, `{"op":"forget","recording":{}}`,
		`{"facts":{"name":"n"},"modules":[{"module":"count","state":"running","generation":18446744073709551615,"running":1}]}`, `{"facts":{"labels":{"":"x"}},"modules":[{},{}]}`,
		`{"id":"q","items":18446744073709551615}`, `{"id":"q","where":"` + strings.Repeat("(", 60_000) + `"}`, `{"id":"q","where":"true","lease_ns":9223372036854775807,"window":-1}`,
	}
	// Names become parts of subjects: with a long one, the server closes the connection of
	// whoever publishes there, and with the end of a line it would read another command.
	for _, name := range []string{strings.Repeat("x", 8000), strings.Repeat("x", 60_000), "a.b", "*", ">", "a b", "a\tb", "x 0\r\n\r\nPUB taskwatch.desired 0\r\n\r\n", "é", "A", "\x00"} {
		quoted, err := json.Marshal(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, format := range []string{
			`{"id":%s,"where":"true","lease_ns":60000000000}`, `{"id":%s,"items":1}`, `{"op":"recorded","recording":{"name":%s}}`, `{"op":"forget","recording":{"name":%s}}`,
			`{"op":"record","recording":{"name":%s,"question":"q","max_bytes":1048576}}`, `{"op":"record","recording":{"name":"r","question":%s,"max_bytes":1048576}}`,
			`{"op":"module","digest":%s}`, `{"op":"upload","digest":%s,"size":1,"data":"eA=="}`,
		} {
			all = append(all, fmt.Sprintf(format, quoted))
		}
	}
	return all
}

// Whatever a client of each role sends where it may, the hub goes on answering, and the
// nodes stay connected.
func TestMalformedMessages(t *testing.T) { eachHub(t, testMalformedMessages) }

func testMalformedMessages(t *testing.T, h *running) {
	tm := newTeam(t, h)
	n := newNode(t, h, tm.keys, "n", nil)
	tm.reported(t, 1)
	for role, subjects := range map[fleet.Role]func(key string) []string{
		fleet.Node: func(key string) []string {
			return []string{fleet.ReportSubject(key), fleet.AnswerSubject(tm.Key(), "q", key)}
		},
		fleet.Reader: func(key string) []string {
			return []string{fleet.QuestionSubject(key), fleet.ReceiptSubject(key, n.id.Key())}
		},
		fleet.Loader: func(key string) []string {
			return []string{fleet.QuestionSubject(key), fleet.ReceiptSubject(key, n.id.Key())}
		},
	} {
		c := h.dial(t, role, "bad", nil)
		for _, text := range malformed(t) {
			if _, err := c.Request(fleet.RequestSubject(c.Key()), []byte(text), patient); err != nil {
				t.Fatalf("a %s gets no answer to %.80q: %v", role, text, err)
			}
			for _, s := range subjects(c.Key()) {
				if err := c.Publish(s, []byte(text)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := c.Flush(); err != nil {
			t.Errorf("a %s: %v", role, err)
		}
	}
	w := tm.watch(t, `kind == "exec"`, "", time.Minute)
	eventually(t, "the node answers another operator", func() bool { return w.got("n") == 1 })
	runs(t, 0, 1, n)
	eventually(t, "an item comes", func() bool { return w.got("n") == 2 })
	if times := strings.Count(n.log.String(), "connected to the hub"); times != 1 {
		t.Errorf("the node has connected %d times", times)
	}
	select {
	case err := <-h.Lost():
		t.Error(err)
	default:
	}
}
