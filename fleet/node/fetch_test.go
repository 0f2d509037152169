package node

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
)

// A file that could not be had is tried again a minute later, or at once when it is
// said again that it is wanted; what it failed with is said until then.
func TestFetchAgain(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // nothing is fetched
	f := newFetches(nil)
	e := &fleet.Entry{Digest: "d", Registry: "https://registry.example/m"}
	if err := f.want(ctx, e); !errors.Is(err, errFetching) || !f.tries["d"].busy {
		t.Fatalf("at first: %v", err)
	}
	failure := errors.New("no route to host")
	f.end("d", failure)
	if err := f.want(ctx, e); !errors.Is(err, failure) || f.tries["d"].busy {
		t.Errorf("after a failure: %v, and it is tried at once", err)
	}
	if next := f.prune(map[string]bool{"d": true}); next > fetchAgain || next < fetchAgain-time.Minute/2 {
		t.Errorf("it is tried again in %v", next)
	}
	f.tries["d"].at = time.Now().Add(-fetchAgain)
	if err := f.want(ctx, e); !errors.Is(err, failure) || !f.tries["d"].busy {
		t.Errorf("a minute later: %v, and it is not tried", err)
	}
	f.end("d", failure)
	f.forget("d")
	if err := f.want(ctx, e); !errors.Is(err, errFetching) || !f.tries["d"].busy {
		t.Errorf("said again: %v", err)
	}
	f.end("d", nil)
	f.end("other", failure)
	if f.prune(nil); len(f.tries) != 0 {
		t.Errorf("what is not needed stays: %v", f.tries)
	}
	f.ended.Wait()
}
