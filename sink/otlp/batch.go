package otlp

import (
	"context"

	"google.golang.org/protobuf/proto"
)

// The limits of one request. Only a single larger part exceeds them. By default,
// gRPC servers accept at most 4 MiB.
const (
	maxParts = 512
	maxBytes = 2 << 20
)

// batch collects spans or log records and sends them in requests that are small
// enough for collectors.
type batch[T proto.Message] struct {
	to   Sender
	data func([]T) proto.Message

	parts []T
	bytes int

	sent, rejected, failed uint64 // parts
}

// add adds parts. If the request would become too large, it sends the earlier
// ones first.
func (b *batch[T]) add(ctx context.Context, parts ...T) error {
	for _, part := range parts {
		size := proto.Size(part)
		if len(b.parts) > 0 && (len(b.parts) == maxParts || b.bytes+size > maxBytes) {
			if err := b.flush(ctx); err != nil {
				return err
			}
		}
		b.parts = append(b.parts, part)
		b.bytes += size
	}
	return nil
}

// flush sends everything. What cannot be sent is dropped.
func (b *batch[T]) flush(ctx context.Context) error {
	n := uint64(len(b.parts))
	if n == 0 {
		return nil
	}
	told, err := b.to.Send(ctx, b.data(b.parts))
	clear(b.parts)
	b.parts, b.bytes = b.parts[:0], 0
	if err != nil {
		b.failed += n
		return err
	}
	rejected := min(uint64(max(told, 0)), n)
	b.rejected += rejected
	b.sent += n - rejected
	return nil
}
