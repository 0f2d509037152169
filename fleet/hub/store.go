package hub

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/taskwatch/taskwatch/fleet"
)

// What JetStream has: buckets of entries and of reports, files, and a stream of
// lines.
const (
	desiredBucket = "taskwatch_desired" // by module
	nodesBucket   = "taskwatch_nodes"   // by key
	modulesBucket = "taskwatch_modules" // pieces and sizes of files, by digest
	auditStream   = "taskwatch_audit"
	auditSubject  = "taskwatch.audit." // and a client
)

// Bounds.
const (
	storeTime    = 10 * time.Second
	maxModule    = fleet.MaxModule
	auditBytes   = 64 << 20
	auditLines   = 10_000  // of a client: none drives out those of others
	nodeLine     = 1 << 10 // bytes of a line of a node, as JSON
	nodeLines    = 1000    // of a node in a minute
	auditPage    = 200
	entryHistory = 16 // earlier entries of each module
	cachedFiles  = 4
)

// store is what the hub keeps. The goroutine of the service alone uses it. What
// is small is in memory, too.
type store struct {
	js       jetstream.JetStream
	replicas int
	room     room
	entries  jetstream.KeyValue
	reports  jetstream.KeyValue
	files    jetstream.KeyValue
	lines    jetstream.Stream

	wanted  []wanted // by module
	byNode  map[string]*nodeEntry
	began   time.Time
	last    uint64 // revision: the time at which the hub got the report
	failed  error  // of the last report
	fetched []file // the last that were asked for
}

type wanted struct {
	stored     fleet.Stored
	generation uint64
	lease      time.Duration
}

type nodeEntry struct {
	report   fleet.Report
	size     int // of the report, in bytes
	seen     time.Time
	revision uint64
	stored   [sha256.Size]byte // what of it is stored: a sum, and since when
	since    time.Time
	noted    int // lines of the audit trail, since counted
	counted  time.Time
}

// notes returns what goes into the audit trail of the changes at a node.
func (n *nodeEntry) notes(changes []string) []string {
	if time.Since(n.counted) >= time.Minute {
		n.noted, n.counted = 0, time.Now()
	}
	room := max(nodeLines-n.noted, 0)
	if n.noted += len(changes); len(changes) <= room {
		return changes
	}
	if room == 0 {
		return nil // it was said
	}
	return append(changes[:room-1:room-1], fmt.Sprintf("changes more than %d modules in a minute: the others are not noted", nodeLines))
}

type file struct {
	digest string
	data   []byte
}

func openStore(ctx context.Context, js jetstream.JetStream, replicas int) (*store, error) {
	s := &store{js: js, replicas: replicas, byNode: map[string]*nodeEntry{}, began: time.Now()}
	var err error
	if s.entries, err = js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: desiredBucket, History: entryHistory, MaxValueSize: 2 * fleet.MaxSigned, Replicas: replicas}); err != nil {
		return nil, err
	}
	if s.reports, err = js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: nodesBucket, MaxValueSize: fleet.MaxReport, Replicas: replicas}); err != nil {
		return nil, err
	}
	if s.files, err = js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: modulesBucket, Replicas: replicas}); err != nil {
		return nil, err
	}
	s.lines, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: auditStream, Subjects: []string{auditSubject + "*"}, MaxBytes: auditBytes, MaxMsgsPerSubject: auditLines, Discard: jetstream.DiscardOld, AllowDirect: true, Replicas: replicas,
	})
	if err != nil {
		return nil, err
	}
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// forgetNodes removes the reports of nodes that are none any more.
func (s *store) forgetNodes(ctx context.Context, isNode func(key string) bool) error {
	for key := range s.byNode {
		if isNode(key) {
			continue
		}
		if err := s.purge(ctx, nodesBucket, key); err != nil {
			return err
		}
		delete(s.byNode, key)
	}
	return nil
}

// purge removes the keys of a bucket that match a pattern, and leaves no trace of them.
func (s *store) purge(ctx context.Context, bucket, keys string) error {
	stream, err := s.js.Stream(ctx, "KV_"+bucket)
	if err != nil {
		return err
	}
	return stream.Purge(ctx, jetstream.WithPurgeSubject("$KV."+bucket+"."+keys))
}

// load reads what was stored.
func (s *store) load(ctx context.Context) error {
	err := all(ctx, s.entries, func(kv jetstream.KeyValueEntry) error {
		var signed fleet.Signed
		if err := json.Unmarshal(kv.Value(), &signed); err != nil {
			return fmt.Errorf("the stored entry of %s: %w", kv.Key(), err)
		}
		e, err := signed.Unverified()
		if err != nil {
			return err
		}
		s.remember(e, &signed)
		return nil
	})
	if err != nil {
		return err
	}
	return all(ctx, s.reports, func(kv jetstream.KeyValueEntry) error {
		n := &nodeEntry{seen: kv.Created(), since: kv.Created(), stored: sha256.Sum256(kv.Value()), size: len(kv.Value()), revision: s.revise()}
		if err := json.Unmarshal(kv.Value(), &n.report); err != nil {
			return fmt.Errorf("the stored report of %s: %w", kv.Key(), err)
		}
		s.byNode[kv.Key()] = n
		return nil
	})
}

// revise returns the next revision. It is higher than all before, those of an
// earlier hub included, unless the clock of the machine was set back.
func (s *store) revise() uint64 {
	s.last = max(s.last+1, uint64(time.Now().UnixNano()))
	return s.last
}

// all calls fn with everything in a bucket.
func all(ctx context.Context, kv jetstream.KeyValue, fn func(jetstream.KeyValueEntry) error) error {
	return each(ctx, kv, fn, jetstream.IgnoreDeletes())
}

// each calls fn with what the options of a watcher say of a bucket.
func each(ctx context.Context, kv jetstream.KeyValue, fn func(jetstream.KeyValueEntry) error, options ...jetstream.WatchOpt) error {
	w, err := kv.WatchAll(ctx, options...)
	if err != nil {
		return err
	}
	for {
		select {
		case entry := <-w.Updates():
			if entry == nil { // that was all
				return w.Stop()
			}
			if err := fn(entry); err != nil {
				return errors.Join(err, w.Stop())
			}
		case <-ctx.Done(): // the rest may never come
			return errors.Join(ctx.Err(), w.Stop())
		}
	}
}

func (s *store) find(module string) (int, bool) {
	return slices.BinarySearchFunc(s.wanted, module, func(w wanted, name string) int { return cmp.Compare(w.stored.Module, name) })
}

func (s *store) remember(e *fleet.Entry, signed *fleet.Signed) {
	w := wanted{fleet.Stored{Module: e.Module, Signed: *signed}, e.Generation, e.Lease}
	if i, ok := s.find(e.Module); ok {
		s.wanted[i] = w
	} else {
		s.wanted = slices.Insert(s.wanted, i, w)
	}
}

// put stores an entry. Its generation must be higher than that of the one before, which
// must be of a generation behind, unless that is 0.
func (s *store) put(ctx context.Context, e *fleet.Entry, signed *fleet.Signed, behind uint64) error {
	if err := fleet.CheckGeneration(e.Generation, time.Now()); err != nil {
		return fmt.Errorf("module %s: %w", e.Module, err)
	}
	i, known := s.find(e.Module)
	switch {
	case known && e.Generation <= s.wanted[i].generation:
		return fmt.Errorf("module %s has the generation %d already, and %d is not higher: somebody else has changed it; try again", e.Module, s.wanted[i].generation, e.Generation)
	case known && behind != 0 && behind != s.wanted[i].generation:
		return fmt.Errorf("module %s has the generation %d, and not %d any more: somebody else has changed it; try again", e.Module, s.wanted[i].generation, behind)
	case !known && len(s.wanted) >= fleet.MaxDesired:
		return fmt.Errorf("there are %d modules already", fleet.MaxDesired)
	case !e.Absent && e.Registry == "" && !s.has(ctx, e.Digest):
		return fmt.Errorf("the file of module %s, with the digest %s, is not at the hub; upload it first", e.Module, e.Digest)
	}
	b, err := json.Marshal(signed)
	if err == nil {
		err = s.room.check()
	}
	if err != nil {
		return err
	}
	if _, err := s.entries.Put(ctx, e.Module, b); err != nil {
		return fmt.Errorf("the entry is not stored: %w", err)
	}
	s.remember(e, signed)
	return nil
}

// renews reports whether an entry is that of before but for its times.
func (s *store) renews(e *fleet.Entry) bool {
	i, known := s.find(e.Module)
	if !known || e.Lease == 0 {
		return false
	}
	old, err := s.wanted[i].stored.Signed.Unverified()
	if err != nil {
		return false
	}
	old.Generation, old.Expires = e.Generation, e.Expires
	return reflect.DeepEqual(old, e)
}

func (s *store) desired(after string) *fleet.Response {
	r := &fleet.Response{}
	var p page
	for _, w := range s.wanted {
		if w.stored.Module <= after {
			continue
		}
		if !p.takes(len(w.stored.Signed.Text) + len(w.stored.Signed.Signature)) {
			r.More = true
			break
		}
		r.Entries = append(r.Entries, w.stored)
	}
	return r
}

// report takes what a node says, stores it if it is new, and returns what has
// changed, for the audit trail.
func (s *store) report(key string, r fleet.Report, data []byte) (changes []string) {
	s.failed = nil
	n := s.byNode[key]
	if n == nil {
		n = &nodeEntry{}
		s.byNode[key] = n
	}
	for _, m := range r.Modules {
		old := fleet.ModuleReport{}
		if i := slices.IndexFunc(n.report.Modules, func(o fleet.ModuleReport) bool { return o.Module == m.Module }); i >= 0 {
			old = n.report.Modules[i]
		}
		if i, known := s.find(m.Module); known && s.wanted[i].lease > 0 && old.State == m.State {
			old.Generation, old.Running = m.Generation, m.Running // a renewal changes nothing
		}
		if old != m {
			text := fmt.Sprintf("module %s, generation %d: %s", m.Module, m.Generation, m.State)
			if m.Reason != "" {
				text += ": " + m.Reason
			}
			changes = append(changes, text)
		}
	}
	changes = n.notes(changes)
	n.report, n.size, n.seen, n.revision = r, len(data), time.Now(), s.revise()
	sum := sha256.Sum256(data)
	if sum == n.stored && time.Since(n.since) < storeEvery {
		return changes
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	if s.room.check() != nil {
		return changes // it is in memory, and comes again
	}
	if _, s.failed = s.reports.Put(ctx, key, data); s.failed == nil {
		n.stored, n.since = sum, n.seen
	}
	return changes
}

// storeEvery is how old the stored time of a node may be that says the same again
// and again: what is there after a restart.
const storeEvery = 5 * time.Minute

// reportErr returns why the last report was not stored, or nil.
func (s *store) reportErr() error { return s.failed }

// nodes returns those that have reported behind a revision; all for one that is to
// come: an earlier hub has given it, whose clock was ahead.
func (s *store) nodes(behind uint64) *fleet.Response {
	if behind > s.last {
		behind = 0
	}
	type one struct {
		key string
		*nodeEntry
	}
	var list []one
	for key, n := range s.byNode {
		if n.revision > behind {
			list = append(list, one{key, n})
		}
	}
	slices.SortFunc(list, func(a, b one) int { return cmp.Or(cmp.Compare(a.revision, b.revision), cmp.Compare(a.key, b.key)) })
	r := &fleet.Response{Revision: behind}
	now := time.Now()
	var p page
	for _, n := range list {
		if !p.takes(n.size + nodeStateSize) {
			r.More = true
			break
		}
		r.Nodes = append(r.Nodes, fleet.NodeState{Key: n.key, Report: n.report, Age: now.Sub(n.seen), Up: now.Sub(s.began)})
		r.Revision = n.revision
	}
	return r
}

// nodeStateSize is how many bytes a node has in an answer beside its report, about.
const nodeStateSize = 150

// page is how many bytes of content an answer has so far. As JSON in JSON it becomes at
// most a few times as large, and a message has room for that: see maxPayload.
type page struct{ size int }

// takes reports whether something of a size goes into the page. The first thing does.
func (p *page) takes(size int) bool {
	if p.size > 0 && p.size+size > fleet.PieceSize {
		return false
	}
	p.size += size
	return true
}

// note stores a line of the audit trail.
func (s *store) note(n *note) error {
	who := "hub"
	if n.client != nil {
		who = n.client.ID
	}
	b, err := json.Marshal(n.line)
	for line := n.line; err == nil && len(b) > nodeLine && line.Role == fleet.Node; b, err = json.Marshal(line) {
		n.line.What = n.line.What[:len(n.line.What)*3/4]
		line.What = strings.ToValidUTF8(n.line.What, "") + "..."
	}
	if err == nil {
		err = s.room.check()
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	_, err = s.js.Publish(ctx, auditSubject+who, b)
	return err
}

// audit returns lines behind one, the oldest first.
func (s *store) audit(ctx context.Context, behind uint64) (*fleet.Response, error) {
	r := &fleet.Response{Revision: behind}
	var p page
	for {
		msg, err := next(ctx, s.lines, r.Revision)
		if msg == nil || err != nil {
			return r, err
		}
		if len(r.Audit) == auditPage || !p.takes(len(msg.Data)) {
			r.More = true
			return r, nil
		}
		var l fleet.AuditLine
		if err := json.Unmarshal(msg.Data, &l); err != nil {
			return nil, fmt.Errorf("line %d of the audit trail: %w", msg.Sequence, err)
		}
		r.Audit, r.Revision = append(r.Audit, l), msg.Sequence
	}
}

// next returns the first message of a stream behind one, or nil. How many have made room
// between the two does not matter: a client may have had so many lines that asking for each
// number takes longer than an answer may.
func next(ctx context.Context, stream jetstream.Stream, behind uint64) (*jetstream.RawStreamMsg, error) {
	msg, err := stream.GetMsg(ctx, behind+1, jetstream.WithGetMsgSubject(">"))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	return msg, err
}
