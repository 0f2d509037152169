package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/taskwatch/taskwatch/fleet"
)

// has reports whether there is a file of that digest.
func (s *store) has(ctx context.Context, digest string) bool {
	_, err := s.files.Get(ctx, sizeKey(digest))
	return err == nil
}

// A file is in pieces, because messages are small, and has its size behind them:
// without one it is not complete.

func sizeKey(digest string) string { return digest + ".size" }

func pieceKey(digest string, offset int) string { return digest + "." + strconv.Itoa(offset) }

func (s *store) save(ctx context.Context, digest string, data []byte) error {
	if err := s.room.check(); err != nil {
		return err
	}
	for offset := 0; offset < len(data); offset += fleet.PieceSize {
		if _, err := s.files.Put(ctx, pieceKey(digest, offset), data[offset:min(len(data), offset+fleet.PieceSize)]); err != nil {
			return fmt.Errorf("the module is not stored: %w", err)
		}
	}
	if _, err := s.files.PutString(ctx, sizeKey(digest), strconv.Itoa(len(data))); err != nil {
		return fmt.Errorf("the module is not stored: %w", err)
	}
	return nil
}

// read returns a file.
func (s *store) read(ctx context.Context, digest string) ([]byte, error) {
	kv, err := s.files.Get(ctx, sizeKey(digest))
	if err != nil {
		return nil, err
	}
	size, err := strconv.Atoi(string(kv.Value()))
	if err != nil || size > maxModule {
		return nil, fmt.Errorf("its size is %.20q", kv.Value())
	}
	data := make([]byte, 0, size)
	for len(data) < size {
		piece, err := s.files.Get(ctx, pieceKey(digest, len(data)))
		if err != nil {
			return nil, err
		}
		if len(piece.Value()) == 0 {
			return nil, errors.New("a piece is empty")
		}
		data = append(data, piece.Value()...)
	}
	return data, nil
}

// piece returns a part of a file.
func (s *store) piece(ctx context.Context, digest string, offset int) (*fleet.Response, error) {
	i := slices.IndexFunc(s.fetched, func(f file) bool { return f.digest == digest })
	if i < 0 {
		if !fleet.ValidDigest(digest) {
			return nil, fmt.Errorf("%.80q is not a digest", digest)
		}
		data, err := s.read(ctx, digest)
		if err != nil {
			return nil, fmt.Errorf("the module with the digest %s: %w", digest, err)
		}
		if len(s.fetched) >= cachedFiles {
			s.fetched = s.fetched[1:]
		}
		s.fetched = append(s.fetched, file{digest, data})
		i = len(s.fetched) - 1
	}
	data := s.fetched[i].data
	if offset < 0 || offset > len(data) {
		return nil, fmt.Errorf("the module has %d bytes, and none at %d", len(data), offset)
	}
	return &fleet.Response{Size: len(data), Data: data[offset:min(len(data), offset+fleet.PieceSize)]}, nil
}

// keepUnused is how long a file stays that no entry names: it is stored before its entry.
const keepUnused = 24 * time.Hour

// prune removes the files that were stored before a time, and that neither the entry of a
// module names nor one of those before it that are kept: a rollout may go back to them.
func (s *store) prune(ctx context.Context, before time.Time) error {
	needed := map[string]bool{}
	err := each(ctx, s.entries, func(kv jetstream.KeyValueEntry) error {
		var signed fleet.Signed
		if err := json.Unmarshal(kv.Value(), &signed); err != nil {
			return fmt.Errorf("an earlier entry of %s: %w", kv.Key(), err)
		}
		e, err := signed.Unverified()
		if err == nil {
			needed[e.Digest] = true
		}
		return err
	}, jetstream.IgnoreDeletes(), jetstream.IncludeHistory())
	if err != nil {
		return err
	}
	unused := map[string]bool{}
	err = each(ctx, s.files, func(kv jetstream.KeyValueEntry) error {
		digest, _, _ := strings.Cut(kv.Key(), ".")
		if kv.Created().After(before) {
			needed[digest] = true // a piece of it is young
		}
		unused[digest] = true
		return nil
	}, jetstream.IgnoreDeletes(), jetstream.MetaOnly())
	for digest := range unused {
		if err == nil && !needed[digest] {
			err = s.purge(ctx, modulesBucket, digest+".*")
		}
	}
	return err
}
