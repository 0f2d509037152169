package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

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
