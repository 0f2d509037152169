package watchtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/taskwatch/taskwatch"
)

// keeper writes at its end what it should have written at once.
type keeper struct {
	w    io.Writer
	kept []taskwatch.Item
}

func (k *keeper) Wants() taskwatch.Wants { return taskwatch.WantAll(taskwatch.AllKinds) }
func (k *keeper) Take(it taskwatch.Item) { k.kept = append(k.kept, it) }
func (k *keeper) Close(context.Context) error {
	for _, it := range k.kept {
		fmt.Fprintln(k.w, it.Seq())
	}
	return nil
}

// The suite's way of lending shows a sink that keeps what it got.
func TestLentItemsShowAKeeper(t *testing.T) {
	cfg := SinkConfig{New: func(w io.Writer) taskwatch.Sink { return &keeper{w: w} }}
	plain := func(it taskwatch.Item, take func(taskwatch.Item)) { take(it) }
	kept := sinkOutput(t, cfg, plain)
	if !bytes.Equal(kept, sinkOutput(t, cfg, plain)) || len(kept) == 0 {
		t.Fatal("the items are not the same each time, or none")
	}
	lent := sinkOutput(t, cfg, func(it taskwatch.Item, take func(taskwatch.Item)) {
		own := it.Clone()
		take(own)
		spoil(own)
	})
	if bytes.Equal(kept, lent) {
		t.Error("a sink that keeps items writes the same")
	}
}
