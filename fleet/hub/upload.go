package hub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
)

// upload is a file that comes in pieces.
type upload struct {
	digest string
	data   []byte
	last   time.Time // that a piece has come
}

// uploadTime is how long the hub waits for the next piece of a file.
const uploadTime = 10 * time.Minute

// forgetUploads forgets files that are not complete, and of which no piece has come for long.
func (s *service) forgetUploads(now time.Time) {
	maps.DeleteFunc(s.uploads, func(_ string, u *upload) bool { return now.Sub(u.last) >= uploadTime })
}

func (s *service) upload(ctx context.Context, c *Client, r *fleet.Request) (*fleet.Response, error) {
	switch {
	case !fleet.ValidDigest(r.Digest):
		return nil, fmt.Errorf("%.80q is not a digest", r.Digest)
	case r.Size <= 0 || r.Size > maxModule:
		return nil, fmt.Errorf("the module has %d bytes; it may have %d", r.Size, maxModule)
	}
	if r.Offset == 0 {
		if s.store.has(ctx, r.Digest) {
			return &fleet.Response{Size: r.Size}, nil
		}
		s.uploads[c.Key] = &upload{digest: r.Digest, last: time.Now()}
	}
	u := s.uploads[c.Key]
	if u == nil || u.digest != r.Digest || r.Offset != len(u.data) || len(u.data)+len(r.Data) > r.Size {
		return nil, errors.New("the pieces do not fit together; send the file again")
	}
	u.last = time.Now()
	if u.data = append(u.data, r.Data...); len(u.data) < r.Size {
		return &fleet.Response{}, nil
	}
	delete(s.uploads, c.Key)
	if fleet.Digest(u.data) != r.Digest {
		return nil, fleet.ErrDigest
	}
	return &fleet.Response{Size: r.Size}, s.store.save(ctx, r.Digest, u.data)
}
