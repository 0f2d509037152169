package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/operator"
	"github.com/taskwatch/taskwatch/record"
)

// execLine returns the line of an exec by a user.
func execLine(seq uint64, pid, uid int) []byte {
	ev := &taskwatch.Event{
		Kind: taskwatch.Exec, Seq: seq, Time: time.Unix(1_700_000_000, int64(seq)),
		Task: &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: uint64(pid)}, TID: pid, PID: pid, PPID: 1, Comm: "true", Exe: "/bin/true"},
	}
	for i := range ev.Task.UID {
		ev.Task.UID[i] = uint32(uid)
	}
	return record.Append(nil, taskwatch.Item{Event: ev})
}

// watching is a question that runs.
type watching struct {
	mu      sync.Mutex          // guards the fields below
	lines   map[string][]string // but losses
	lost    map[string]uint64   // at least
	trouble []string
	execs   int // among all lines

	cancel context.CancelFunc
	ended  chan error
}

// lossOf returns how many items a line says were lost, at least, and whether it is
// one that says so.
func lossOf(t testing.TB, line []byte) (count uint64, ok bool) {
	if !bytes.Contains(line, []byte(`"event":"lost"`)) {
		return 0, false
	}
	var loss struct{ Count, Seq uint64 }
	if err := json.Unmarshal(line, &loss); err != nil || loss.Seq == 0 {
		t.Errorf("a loss without a place: %s, %v", line, err)
	}
	return max(loss.Count, 1), true
}

func (tm *team) watch(t testing.TB, where, sel string, lease time.Duration) *watching {
	return tm.begin(t, operator.Watch{Where: where, Select: sel, Lease: lease})
}

// begin asks a question, and keeps what comes.
func (tm *team) begin(t testing.TB, q operator.Watch) *watching {
	w := &watching{lines: map[string][]string{}, lost: map[string]uint64{}, ended: make(chan error, 1)}
	q.OnLine = func(n operator.NodeID, line []byte) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if count, ok := lossOf(t, line); ok {
			w.lost[n.Name] += count
			return
		}
		w.lines[n.Name] = append(w.lines[n.Name], string(line))
		if bytes.Contains(line, []byte(`"event":"exec"`)) {
			w.execs++
		}
	}
	q.OnTrouble = func(n operator.NodeID, why string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.trouble = append(w.trouble, n.Name+": "+why)
	}
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(context.Background())
	go func() { w.ended <- q.Run(ctx, tm.Conn) }()
	t.Cleanup(func() { w.end(t) })
	return w
}

func (w *watching) end(t testing.TB) {
	if w.cancel != nil {
		w.cancel()
		if err := <-w.ended; err != nil {
			t.Errorf("the question ends with %v", err)
		}
		w.cancel = nil
	}
}

// got returns how many lines a node has sent.
func (w *watching) got(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.lines[name])
}

// told returns how many execs all nodes have sent, and how many items were lost, at
// least: each as often as it is an item of the stream.
func (w *watching) told() (execs, lost int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, count := range w.lost {
		lost += int(count)
	}
	return w.execs, lost
}

func (w *watching) troubles() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.trouble, "\n")
}

// A question is answered by all nodes that it chooses, with what matches and no
// more, in its order and without loss; and ends with its asker.
func TestQuestion(t *testing.T) { eachHub(t, testQuestion) }

func testQuestion(t *testing.T, h *running) {
	tm := newTeam(t, h)
	names := []string{"a", "b", "c"}
	nodes := map[string]*testNode{}
	for _, name := range names {
		nodes[name] = newNode(t, h, tm.keys, name, map[string]string{"role": "ci"})
	}
	newNode(t, h, tm.keys, "db", nil)
	tm.reported(t, 4)
	w := tm.watch(t, `kind == "exec" && uid == 0`, `role == "ci"`, time.Minute)
	for _, name := range names {
		eventually(t, "node "+name+" begins", func() bool { return w.got(name) == 1 })
	}
	const each = 500
	for i := range uint64(2 * each) {
		for _, n := range nodes {
			if _, err := n.events.Write(execLine(i+1, int(1000+i), int(i%2))); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range names {
		eventually(t, "all items of node "+name+" come", func() bool { return w.got(name) == each+1 })
		w.mu.Lock()
		for i, line := range w.lines[name] {
			var got struct {
				Event string
				Task  struct{ PID int }
			}
			if err := json.Unmarshal([]byte(line), &got); err != nil {
				t.Fatal(err)
			}
			if want := 1000 + 2*(i-1); i == 0 && got.Event != "start" || i > 0 && (got.Event != "exec" || got.Task.PID != want) {
				t.Fatalf("line %d of node %s is %s, want an exec of %d", i, name, line, want)
			}
		}
		w.mu.Unlock()
	}
	w.end(t)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.lines) != 3 || len(w.lost) != 0 || w.trouble != nil {
		t.Errorf("%d nodes answered, lost %v, trouble %q", len(w.lines), w.lost, w.trouble)
	}
}

// Nodes that cannot answer say why, and those that are silent are named.
func TestQuestionWithoutAnswer(t *testing.T) {
	h := startHub(t)
	tm := newTeam(t, h)
	a := newNode(t, h, tm.keys, "a", nil)
	tm.reported(t, 1)
	for where, says := range map[string]string{
		`env.exists(e, e == "KEY=1")`: "may not read env",
		`kind == `:                    "filter: where:",
	} {
		w := tm.watch(t, where, "", time.Minute)
		eventually(t, "the node says why it does not answer", func() bool { return strings.Contains(w.troubles(), "a: ") && strings.Contains(w.troubles(), says) })
		w.end(t)
	}
	w := tm.watch(t, `kind == "exec"`, "", time.Second)
	eventually(t, "the node begins", func() bool { return w.got("a") == 1 })
	a.stop()
	eventually(t, "the node that has gone is named", func() bool { return strings.Contains(w.troubles(), "a: it has not answered for") })
	a.start(t)
	eventually(t, "the node answers again, and the gap is seen", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.lines["a"]) == 2
	})
}

// One operator does not take the room of all others at a node. It is told so, once, and
// gets its answer when one of its questions ends. All together take no more than there is.
func TestQuestionsOfOneOperator(t *testing.T) {
	h, tm, n := oneNode(t)
	ask := func(tm *team) *watching { return tm.watch(t, `kind == "exec"`, "", 3*time.Second) }
	answered := func(w *watching) {
		t.Helper()
		eventually(t, "the node answers", func() bool { return w.got("n") > 0 })
	}
	another := func() *team {
		return &team{tm.key, tm.keys, &operator.Conn{Conn: h.dial(t, fleet.Reader, "another", nil)}}
	}
	rejected := func(w *watching, says string) {
		t.Helper()
		eventually(t, "the node says why it does not answer", func() bool { return strings.HasPrefix(w.troubles(), says) })
	}
	var mine []*watching
	for range fleet.MaxQuestionsOfOne {
		w := ask(tm)
		answered(w)
		mine = append(mine, w)
	}
	over := ask(tm)
	rejected(over, fmt.Sprintf("n: it answers %d questions of this client already", fleet.MaxQuestionsOfOne))
	answered(ask(another()))
	mine[0].end(t)
	answered(over)
	runs(t, 0, 10, n)
	eventually(t, "all items come", func() bool { return over.got("n") == 11 })
	if _, lost := over.told(); lost > 0 || strings.Contains(over.troubles(), "\n") {
		t.Errorf("%d items are lost that the node never had to send, and the troubles are %q", lost, over.troubles())
	}
	for total := fleet.MaxQuestionsOfOne + 1; total < fleet.MaxQuestions; {
		more := another()
		for range min(fleet.MaxQuestionsOfOne, fleet.MaxQuestions-total) {
			answered(ask(more))
			total++
		}
	}
	rejected(ask(another()), fmt.Sprintf("n: it answers %d questions already", fleet.MaxQuestions))
}

// A reader that asks without end, or with long questions, keeps no node from answering
// others.
func TestReaderFloods(t *testing.T) {
	h, tm, n := oneNode(t)
	bad := h.dial(t, fleet.Reader, "stolen", nil)
	answers, err := bad.SubscribeSync(fleet.AnswerSubject(bad.Key(), "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	if err := answers.SetPendingLimits(-1, -1); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	const questions = 20_000
	for i := range questions {
		q := fleet.Question{ID: fmt.Sprint("q", i), Where: `kind == "exec"`, Lease: fleet.MinLease}
		if i == 0 {
			q.Where = strings.Repeat(" ", fleet.MaxQuestion)
		}
		b, err := json.Marshal(&q)
		if err == nil {
			err = bad.Publish(fleet.QuestionSubject(bad.Key()), b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	w := tm.watch(t, `kind == "exec"`, "", time.Minute)
	eventually(t, "another operator gets its answer", func() bool { return w.got("n") == 1 })
	eventually(t, "the node says it", func() bool {
		text := n.log.String()
		return strings.Contains(text, "an operator asks too often") && strings.Contains(text, "a question is too long")
	})
	most := maxHeardOfTest * (2 + int(time.Since(began)/(10*time.Second)))
	if got, _, err := answers.Pending(); err != nil || got == 0 || got > most {
		t.Errorf("of %d questions, the node has looked at %d, %v; want %d at most", questions, got, err, most)
	}
	long := operator.Watch{Where: strings.Repeat(" ", fleet.MaxQuestion), Lease: time.Minute}
	if err := long.Run(t.Context(), tm.Conn); err == nil || !strings.Contains(err.Error(), "shorten its expressions") {
		t.Errorf("a long question: %v", err)
	}
}

// A reader whose questions take long to read keeps no node from answering others, whether
// they choose the node or not.
func TestReaderAsksMuch(t *testing.T) {
	h, tm, n := oneNode(t)
	bad := h.dial(t, fleet.Reader, "stolen", nil)
	long := func(term string) string {
		return term + strings.Repeat(" || "+term, (fleet.MaxQuestion-1<<10)/(len(term)+4))
	}
	began := time.Now()
	for i := range 100 {
		ask(t, bad, &fleet.Question{ID: fmt.Sprint("chosen", i), Where: long("uid == 1"), Lease: fleet.MinLease})
		ask(t, bad, &fleet.Question{ID: fmt.Sprint("other", i), Select: long(`name == ""`), Lease: fleet.MinLease})
	}
	w := tm.watch(t, `kind == "exec"`, "", time.Minute)
	eventually(t, "another operator gets its answer", func() bool { return w.got("n") == 1 })
	text := n.log.String()
	if !strings.Contains(text, "an operator asks too much") {
		t.Error("the node does not say it")
	}
	most := 2 + int(time.Since(began)/(10*time.Second)) // one in ten seconds
	if got := strings.Count(text, "msg=answering asker="+bad.Key()); got == 0 || got > most {
		t.Errorf("the node has read %d questions, want 1 to %d", got, most)
	}
}

// maxHeardOfTest is how many answers a flood gets in ten seconds, at most: one for each
// question that the node takes, and a few for those that it answers.
const maxHeardOfTest = 500

// What is lost on the way is counted.
func TestQuestionIsLost(t *testing.T) {
	h, tm, n := oneNode(t)
	w := tm.watch(t, `kind == "exec"`, "", 3*time.Second)
	eventually(t, "the node begins", func() bool { return w.got("n") == 1 })
	sub, err := h.service.nc.SubscribeSync("taskwatch.answer.*.*." + n.id.Key())
	if err != nil {
		t.Fatal(err)
	}
	msg, err := sub.NextMsg(patient) // a sign of life
	if err != nil {
		t.Fatal(err)
	}
	// An answer in the name of the node, as if those before it had been lost.
	var said fleet.Answer
	if err := json.Unmarshal(msg.Data, &said); err != nil {
		t.Fatal(err)
	}
	said.Items, said.Count, said.Lines = 8, 1, []json.RawMessage{json.RawMessage(`{"event":"exec"}`)}
	b, err := json.Marshal(&said)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.service.nc.Publish(msg.Subject, b); err != nil {
		t.Fatal(err)
	}
	eventually(t, "six items are missed", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.lost["n"] >= 6
	})
}

// The hub is started again in the middle of a question, which goes on: each item comes,
// or is counted as lost.
func TestHubRestartsInQuestion(t *testing.T) {
	h, tm, n := oneNode(t)
	w := tm.watch(t, `kind == "exec"`, "", fleet.MaxLease)
	eventually(t, "the node begins", func() bool { return w.got("n") == 1 })
	runs(t, 0, 100, n)
	h.kill()
	runs(t, 100, 200, n)
	h.start(t)
	seen := 200
	next := time.Now()
	eventually(t, "items come again, and each has come or is counted", func() bool {
		if time.Now().After(next) { // the next answer shows what is missing
			runs(t, seen, seen+1, n)
			seen++
			next = time.Now().Add(time.Second)
		}
		execs, lost := w.told()
		return execs+lost == seen && w.lastPID("n") >= 1200
	})
	w.end(t) // no error
}

// lastPID returns the process of the last line of a node.
func (w *watching) lastPID(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	var got struct{ Task struct{ PID int } }
	if lines := w.lines[name]; len(lines) > 0 {
		_ = json.Unmarshal([]byte(lines[len(lines)-1]), &got) // the start has none
	}
	return got.Task.PID
}
