package operator

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/record"
)

// answering is a node of which something is known.
type answering struct {
	id      NodeID
	began   int64  // of the answer; 0 where there was none
	items   uint64 // that were sent up to it
	last    uint64 // sequence number of the last one that has come, or 0
	heard   time.Time
	trouble string // that was told last

	receipt uint64 // the items of the last one
	unread  int    // bytes, behind it
}

// answeringNodes are the nodes of which something is known.
type answeringNodes struct {
	receipt func(node string, items uint64) // says to a node what was read; nil where no node waits for that
	chosen  atomic.Int64                    // how many ought to answer
	window  atomic.Int64                    // of each, in bytes

	mu    sync.Mutex // guards the fields below, and the calls of the functions of a Watch
	byKey map[string]*answering
	began time.Time
	all   time.Time // when all answers that had come were read
	ended bool
}

func newAnswering() *answeringNodes {
	now := time.Now()
	return &answeringNodes{byKey: map[string]*answering{}, began: now, all: now}
}

// end has no function called any more.
func (ns *answeringNodes) end() {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.ended = true
}

// read takes note of when no answers wait but for some.
func (ns *answeringNodes) read(sub *nats.Subscription, but int) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if waiting, _, err := sub.Pending(); err == nil && waiting <= but {
		ns.all = time.Now()
	}
}

// look names the nodes that ought to answer and do not.
func (w *Watch) look(nodes *answeringNodes, list []fleet.NodeState) {
	nodes.mu.Lock()
	defer nodes.mu.Unlock()
	if nodes.ended {
		return
	}
	for _, n := range list {
		a := nodes.byKey[n.Key]
		if a == nil {
			a = &answering{id: NodeID{n.Key, n.Report.Facts.Name}, heard: nodes.began}
			nodes.byKey[n.Key] = a
		}
		why := ""
		unheard := nodes.all.Sub(a.heard) // its answers may wait to be read
		switch {
		case n.Silent():
			why = fmt.Sprintf("it has not reported for %v", n.Age.Round(time.Second))
		case unheard > w.Lease:
			why = fmt.Sprintf("it has not answered for %v", unheard.Round(time.Second))
		default:
			continue
		}
		if kind := why[:strings.LastIndex(why, " ")]; a.trouble != kind {
			a.trouble = kind
			w.OnTrouble(a.id, why)
		}
	}
}

// lose passes on, as an item, that items of a node were lost on their way; 0 is an
// unknown number. They were lost behind the last one that has come, or, where none
// has, before those that come now.
func (w *Watch) lose(a *answering, count uint64, next []json.RawMessage) {
	l := &taskwatch.Loss{Count: count, Seq: a.last + 1}
	if a.last == 0 {
		l.Seq = max(firstSeq(next), 1)
	}
	w.OnLine(a.id, bytes.TrimSuffix(record.Append(nil, taskwatch.Item{Loss: l}), []byte("\n")))
}

// firstSeq returns the first sequence number in lines, or 0.
func firstSeq(lines []json.RawMessage) uint64 {
	for _, line := range lines {
		if seq := record.Seq(line); seq != 0 {
			return seq
		}
	}
	return 0
}

// lastSeq returns the last sequence number in lines, or 0.
func lastSeq(lines []json.RawMessage) uint64 {
	for _, line := range slices.Backward(lines) {
		if seq := record.Seq(line); seq != 0 {
			return seq
		}
	}
	return 0
}

// unreadable is the trouble with a node whose answers are none. The items that they claim
// to have are lost.
const unreadable = "its answer cannot be read"

// forged reports whether a value that a node has sent is no line of a recording, or one
// that could pass for a line of another node: each line gets the name and the key of the
// node that has sent it.
func forged(line json.RawMessage) bool {
	if len(line) < 4 || line[0] != '{' || line[1] != '"' || bytes.IndexByte(line, '\n') >= 0 || bytes.IndexByte(line, '\r') >= 0 {
		return true
	}
	if !bytes.Contains(line, []byte(`"node`)) && !bytes.Contains(line, []byte(`\u`)) {
		return false
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(line, &fields) != nil {
		return true
	}
	_, name := fields["node"]
	_, key := fields["node_key"]
	return name || key
}

// take takes an answer of the node with a key.
func (w *Watch) take(nodes *answeringNodes, key string, data []byte) {
	nodes.mu.Lock()
	defer nodes.mu.Unlock()
	if nodes.ended {
		return
	}
	a := nodes.byKey[key]
	if a == nil {
		a = &answering{id: NodeID{Key: key}, heard: nodes.began}
		nodes.byKey[key] = a
	}
	var in fleet.Answer
	if err := json.Unmarshal(data, &in); err != nil || in.Items < in.Count || slices.ContainsFunc(in.Lines, forged) {
		if a.trouble != unreadable {
			a.trouble = unreadable
			w.OnTrouble(a.id, unreadable)
		}
		return
	}
	a.id.Name = in.Name
	said := a.trouble
	a.heard, a.trouble = time.Now(), ""
	switch sent := in.Items - in.Count; {
	case a.items > 0 && (in.Items < a.items || in.Began != a.began): // it has begun again
		a.receipt, a.unread, a.last = 0, 0, 0
		w.lose(a, 0, in.Lines)
	case sent > a.items:
		w.lose(a, sent-a.items, in.Lines)
	}
	a.began, a.items = in.Began, in.Items
	for _, line := range in.Lines {
		w.OnLine(a.id, line)
	}
	a.last = cmp.Or(lastSeq(in.Lines), a.last)
	a.unread += len(data)
	if nodes.receipt != nil && a.items > a.receipt && (len(in.Lines) == 0 || a.unread >= int(nodes.window.Load())/4) {
		nodes.receipt(key, a.items)
		a.receipt, a.unread = a.items, 0
	}
	if a.trouble = in.Error; in.Error != "" && in.Error != said { // it says so whenever it is asked again
		w.OnTrouble(a.id, in.Error)
	}
}
