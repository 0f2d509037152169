package hub

import (
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"aead.dev/minisign"
	"github.com/nats-io/nats.go"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/module/sign"
)

// hang has the service answer nobody any more, until the function is called.
func (r *running) hang() (goOn func()) {
	r.clients.mu.Lock()
	return r.clients.mu.Unlock
}

// say sends the nodes an entry, as a hub does.
func (r *running) say(t *testing.T, tm *team, e *fleet.Entry) {
	t.Helper()
	r.sayStored(t, tm.signed(t, e))
}

// signed returns an entry as a hub has it.
func (tm *team) signed(t *testing.T, e *fleet.Entry) *fleet.Stored {
	t.Helper()
	e.Generation, e.Expires = max(e.Generation, uint64(time.Now().UnixMilli())), time.Now().Add(time.Hour)
	signed, err := fleet.SignEntry(tm.key, e)
	if err != nil {
		t.Fatal(err)
	}
	return &fleet.Stored{Module: e.Module, Signed: *signed}
}

func (r *running) sayStored(t *testing.T, s *fleet.Stored) {
	t.Helper()
	b, err := json.Marshal(s)
	if err == nil {
		err = r.service.nc.Publish(fleet.DesiredSubject, b)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A hub that does not answer, or answers without end, keeps no lease from ending.
func TestLeaseEndsWhileHubHangs(t *testing.T) {
	const lease = 3 * time.Second
	for _, c := range []struct {
		name   string
		answer *fleet.Response // again and again; nil for none
		says   string          // the log
	}{
		{"no answer", nil, ""},
		{"no end", &fleet.Response{More: true, Entries: []fleet.Stored{{Module: "a"}}}, "are not in order"},
		{"a file without end", &fleet.Response{Size: fleet.MaxModule, Data: []byte("x")}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, tm, n := oneNode(t)
			file := counterModule(t)
			tm.want(t, &fleet.Entry{Module: "count", Lease: lease}, file)
			eventually(t, "it runs", func() bool { return len(n.FleetModules()) == 1 })
			var asked atomic.Int32
			if _, err := h.service.nc.Subscribe(fleet.RequestSubject(n.id.Key()), func(msg *nats.Msg) {
				if asked.Add(1); c.answer == nil {
					return
				}
				if b, err := json.Marshal(c.answer); err == nil {
					_ = msg.Respond(b)
				}
			}); err != nil {
				t.Fatal(err)
			}
			if err := h.service.nc.Flush(); err != nil {
				t.Fatal(err)
			}
			defer h.hang()()
			began := time.Now()
			for range 300 { // more than wait, so that the node reads all
				h.say(t, tm, &fleet.Entry{Module: "other", Digest: fleet.Digest([]byte("not there"))})
			}
			for len(n.FleetModules()) > 0 {
				if time.Since(began) > 3*lease {
					t.Fatal("the lease does not end")
				}
				time.Sleep(5 * time.Millisecond)
			}
			if asked.Load() == 0 {
				t.Error("the node has asked the hub for nothing")
			}
			if !strings.Contains(n.log.String(), c.says) {
				t.Errorf("the log does not say %q", c.says)
			}
		})
	}
}

// What no module can be called is not kept: a hub does not fill the memory of a node.
func TestNamesOfStolenHub(t *testing.T) {
	h, tm, n := oneNode(t)
	long := strings.Repeat("x", 100<<10)
	for _, name := range []string{long, "", "a b", "../x"} {
		h.sayStored(t, &fleet.Stored{Module: name})
	}
	h.say(t, tm, &fleet.Entry{Module: "last", Absent: true})
	eventually(t, "the last one has come", func() bool { return tm.report(t, n, "last").Generation != 0 })
	list, _, err := tm.Nodes(t.Context(), 0)
	if err != nil || len(list) != 1 || len(list[0].Report.Modules) != 1 {
		t.Errorf("the node reports %.300v, %v", list, err)
	}
	if text := n.log.String(); strings.Count(text, "that is no module's name") != 4 || strings.Contains(text, long) {
		t.Errorf("the log is %.1000s", text)
	}
}

// A key is not trusted any more. What it has signed does not run when the node is started
// again, and the hub cannot go back to what was wanted before that.
func TestKeyIsTakenAway(t *testing.T) {
	h := startHub(t)
	tm, stolen := newTeam(t, h), newTeam(t, h)
	file := counterModule(t)
	n := newNode(t, h, sign.KeysOf(public(tm), public(stolen)), "n", nil)
	tm.reported(t, 1)
	tm.want(t, &fleet.Entry{Module: "count", Params: map[string]string{"uid": "1"}}, file)
	all, err := tm.Wanted(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	old := fleet.Stored{Module: "count", Signed: all["count"].Signed}
	if o := stolen.want(t, &fleet.Entry{Module: "count", Params: map[string]string{"uid": "2"}}, file); len(o.Failed()) > 0 {
		t.Fatalf("%+v", o)
	}
	for range 2 { // what was seen is kept in the second start, too
		n.stop()
		n.keys = sign.KeysOf(public(tm))
		n.start(t)
		eventually(t, "the node refuses the old entry", func() bool {
			h.sayStored(t, &old)
			r := tm.report(t, n, "count")
			return r.State == fleet.Rejected && strings.Contains(r.Reason, "is an old one") && r.Running == 0
		})
		if got := n.FleetModules(); len(got) > 0 {
			t.Errorf("%q run", got)
		}
	}
	if o := tm.want(t, &fleet.Entry{Module: "count"}, file); len(o.Failed()) > 0 || len(n.FleetModules()) != 1 {
		t.Errorf("a new entry: %+v", o)
	}
	// A generation of the stolen key that is far ahead does not shut the module.
	far := &fleet.Entry{Module: "far", Absent: true, Generation: uint64(time.Now().Add(1000 * time.Hour).UnixMilli())}
	n.stop()
	n.keys = sign.KeysOf(public(tm), public(stolen))
	n.start(t)
	ahead := stolen.signed(t, far)
	eventually(t, "the entry from far ahead is taken", func() bool {
		h.sayStored(t, ahead)
		return tm.report(t, n, "far").Generation == far.Generation
	})
	n.stop()
	n.keys = sign.KeysOf(public(tm))
	n.start(t)
	tm.put(t, &fleet.Entry{Module: "far"}, file)
	eventually(t, "a new entry behind one from far ahead runs", func() bool { return len(n.FleetModules()) == 2 })
}

func public(tm *team) minisign.PublicKey { return tm.key.Public().(minisign.PublicKey) }

// A hub in the wrong hands: whatever it sends, a node does nothing that its keys
// have not signed, and nothing that was superseded; and says so.
func TestStolenHub(t *testing.T) {
	h, tm, n := oneNode(t)
	file := counterModule(t)
	stranger, _ := signer(t)
	signed := func(key minisign.PrivateKey, e fleet.Entry) fleet.Signed {
		t.Helper()
		if e.Expires.IsZero() {
			e.Expires = time.Now().Add(time.Hour)
		}
		s, err := fleet.SignEntry(key, &e)
		if err != nil {
			t.Fatal(err)
		}
		return *s
	}
	first := &fleet.Entry{Module: "count", Params: map[string]string{"uid": "1"}}
	tm.want(t, first, file)
	old, err := tm.Wanted(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	now := &fleet.Entry{Module: "count", Params: map[string]string{"uid": "2"}}
	tm.want(t, now, file)
	later := now.Generation + 100
	good := signed(tm.key, fleet.Entry{Module: "count", Generation: later, Digest: fleet.Digest(file)})
	altered := good
	altered.Text = strings.Replace(good.Text, `"generation"`, `"params":{"uid":"0"},"generation"`, 1)
	unknown := good
	unknown.Text = strings.Replace(good.Text, `{`, `{"only_on":"mars",`, 1)
	for _, c := range []struct {
		name, module, says string
		entry              fleet.Signed
	}{
		{"an old one again", "count", "is an old one", old["count"].Signed},
		{"altered parameters", "count", "not what a trusted key has signed", altered},
		{"an unknown restriction", "count", "not what a trusted key has signed", unknown},
		{"a key that is not trusted", "count", "is not trusted", signed(stranger, fleet.Entry{Module: "count", Generation: later, Digest: fleet.Digest(file)})},
		{"the entry of another module", "other", "is of the module count", good},
		{"another with the same generation", "count", "with the same generation", signed(tm.key, fleet.Entry{Module: "count", Generation: now.Generation, Absent: true})},
		{"one that has expired", "count", "has expired", signed(tm.key, fleet.Entry{Module: "count", Generation: later, Absent: true, Expires: time.Now().Add(-time.Second)})},
		{"the signature of a module", "count", "it was signed as", fleet.Signed{Text: good.Text, Signature: string(sign.Sign(tm.key, []byte(good.Text), "count", "1"))}},
		{"no signature", "count", "not what a trusted key has signed", fleet.Signed{Text: good.Text}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := json.Marshal(fleet.Stored{Module: c.module, Signed: c.entry})
			if err != nil {
				t.Fatal(err)
			}
			if err := h.service.nc.Publish(fleet.DesiredSubject, b); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the node reports that it has refused the entry", func() bool {
				r := tm.report(t, n, c.module)
				return r.State == fleet.Rejected && strings.Contains(r.Reason, c.says)
			})
			if r := tm.report(t, n, "count"); r.Running != now.Generation {
				t.Errorf("generation %d runs, want %d", r.Running, now.Generation)
			}
			if got := n.FleetModules(); !slices.Equal(got, []string{"count"}) {
				t.Errorf("the modules are %q", got)
			}
		})
	}
	// What was seen is not forgotten in a restart.
	n.stop()
	n.start(t)
	b, err := json.Marshal(fleet.Stored{Module: "count", Signed: old["count"].Signed})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node runs again", func() bool {
		if err := h.service.nc.Publish(fleet.DesiredSubject, b); err != nil {
			t.Fatal(err)
		}
		r := tm.report(t, n, "count")
		return r.State == fleet.Rejected && strings.Contains(r.Reason, "is an old one") && r.Running == now.Generation
	})
}
