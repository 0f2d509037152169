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
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/taskwatch/taskwatch/fleet"
)

// What JetStream has: buckets of entries and of reports, files, and a stream of
// lines.
const (
	desiredBucket = "taskwatch_desired"   // by module
	nodesBucket   = "taskwatch_nodes"     // by key
	modulesBucket = "taskwatch_modules"   // pieces and sizes of files, by digest
	floorBucket   = "taskwatch_forgotten" // a generation: see store.floor
	auditStream   = "taskwatch_audit"
	auditSubject  = "taskwatch.audit." // and a client
)

// Bounds.
const (
	storeTime    = 10 * time.Second
	maxModule    = fleet.MaxModule
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
	floors   jetstream.KeyValue
	lines    jetstream.Stream

	wanted  []wanted // by module
	floor   uint64   // the highest generation of modules that were forgotten
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
	absent     bool
	expires    time.Time
	by         string // the id of the loader to which it counts; "" where that is not known
}

// entryValue is an entry as it is stored.
type entryValue struct {
	fleet.Signed
	By string `json:"by,omitempty"`
}

type file struct {
	digest string
	data   []byte
}

func openStore(ctx context.Context, js jetstream.JetStream, replicas int, room room) (*store, error) {
	s := &store{js: js, replicas: replicas, room: room, byNode: map[string]*nodeEntry{}, began: time.Now()}
	for _, b := range []struct {
		to  *jetstream.KeyValue
		cfg jetstream.KeyValueConfig
	}{
		{&s.entries, jetstream.KeyValueConfig{Bucket: desiredBucket, History: entryHistory, MaxValueSize: 2 * fleet.MaxSigned}},
		{&s.reports, jetstream.KeyValueConfig{Bucket: nodesBucket, MaxValueSize: fleet.MaxReport}},
		{&s.files, jetstream.KeyValueConfig{Bucket: modulesBucket}},
		{&s.floors, jetstream.KeyValueConfig{Bucket: floorBucket}},
	} {
		b.cfg.Replicas = replicas
		kv, err := opened(ctx, s, b.cfg.Bucket, b.cfg, js.KeyValue, js.CreateOrUpdateKeyValue)
		if err != nil {
			return nil, err
		}
		*b.to = kv
	}
	var err error
	s.lines, err = opened(ctx, s, auditStream, jetstream.StreamConfig{
		Name: auditStream, Subjects: []string{auditSubject + "*"}, MaxBytes: auditBytes, MaxMsgsPerSubject: auditLines, Discard: jetstream.DiscardOld, AllowDirect: true, Replicas: replicas,
	}, js.Stream, js.CreateOrUpdateStream)
	if err != nil {
		return nil, err
	}
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// opened returns what JetStream has of a name, with a configuration. On a full disk, it is
// what is there, which can be read all the same.
func opened[T, C any](ctx context.Context, s *store, name string, cfg C, open func(context.Context, string) (T, error), create func(context.Context, C) (T, error)) (T, error) {
	full := s.room.check()
	if full != nil {
		if there, err := open(ctx, name); err == nil {
			return there, nil
		}
	}
	made, err := create(ctx, cfg)
	if err != nil {
		err = errors.Join(full, err)
	}
	return made, err
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
		var v entryValue
		if err := json.Unmarshal(kv.Value(), &v); err != nil {
			return fmt.Errorf("the stored entry of %s: %w", kv.Key(), err)
		}
		e, err := v.Signed.Unverified()
		if err != nil {
			return err
		}
		s.remember(e, &v.Signed, v.By)
		return nil
	})
	if err == nil {
		err = s.loadFloor(ctx)
	}
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

func (s *store) remember(e *fleet.Entry, signed *fleet.Signed, by string) {
	w := wanted{fleet.Stored{Module: e.Module, Signed: *signed}, e.Generation, e.Lease, e.Absent, e.Expires, by}
	if i, ok := s.find(e.Module); ok {
		s.wanted[i] = w
	} else {
		s.wanted = slices.Insert(s.wanted, i, w)
	}
}

// put stores an entry of a loader. Its generation must be higher than that of the one
// before, which must be of a generation behind, unless that is 0.
func (s *store) put(ctx context.Context, c *Client, e *fleet.Entry, signed *fleet.Signed, behind uint64) error {
	if err := fleet.CheckGeneration(e.Generation, time.Now()); err != nil {
		return fmt.Errorf("module %s: %w", e.Module, err)
	}
	i, known := s.find(e.Module)
	switch {
	case known && e.Generation <= s.wanted[i].generation:
		return fmt.Errorf("module %s has the generation %d already, and %d is not higher: somebody else has changed it; try again", e.Module, s.wanted[i].generation, e.Generation)
	case known && behind != 0 && behind != s.wanted[i].generation:
		return fmt.Errorf("module %s has the generation %d, and not %d any more: somebody else has changed it; try again", e.Module, s.wanted[i].generation, behind)
	case !known && e.Generation <= s.floor:
		return fmt.Errorf("module %s: generation %d is not higher than that of a module that was unloaded long ago: sign it anew; is the clock right?", e.Module, e.Generation)
	case !e.Absent && e.Registry == "" && !s.has(ctx, e.Digest):
		return fmt.Errorf("the file of module %s, with the digest %s, is not at the hub; upload it first", e.Module, e.Digest)
	}
	by, err := s.place(c, e, signed)
	if err != nil {
		return err
	}
	b, err := json.Marshal(entryValue{*signed, by})
	if err == nil {
		err = s.room.check()
	}
	if err != nil {
		return err
	}
	if _, err := s.entries.Put(ctx, e.Module, b); err != nil {
		return fmt.Errorf("the entry is not stored: %w", err)
	}
	s.remember(e, signed, by)
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
		if !p.takes(w.stored.Signed.Size()) {
			r.More = true
			break
		}
		r.Entries = append(r.Entries, w.stored)
	}
	return r
}
