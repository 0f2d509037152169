package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// idleResult is what a watcher uses while next to nothing happens.
type idleResult struct {
	Watcher  string  `json:"watcher"`
	CPUShare float64 `json:"cpu_share"` // of one processor
	RSS      uint64  `json:"rss_bytes"` // at the end
	PeakRSS  uint64  `json:"peak_rss_bytes"`
}

// measureIdle has the watchers watch for a time, one after the other, and causes
// nothing. What else happens on the machine is watched, too.
func measureIdle(ctx context.Context, cfg Config, watchers []*Watcher, d time.Duration) (results []idleResult, endErr error) {
	if err := check(); err != nil {
		return nil, err
	}
	p, err := newPrograms()
	if err != nil {
		return nil, err
	}
	defer func() { endErr = errors.Join(endErr, p.close()) }()
	for _, w := range watchers {
		cfg.progress("%s: idle", w.Name)
		r, err := idle(ctx, &cfg, w, p, d)
		if err != nil {
			return results, err
		}
		results = append(results, *r)
	}
	return results, nil
}

func idle(ctx context.Context, cfg *Config, w *Watcher, p *programs, d time.Duration) (*idleResult, error) {
	result := &idleResult{Watcher: w.Name}
	_, err := w.during(ctx, cfg, p, free.watcher, func(pid int) error {
		before, err := settle(pid)
		if err != nil {
			return err
		}
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return fmt.Errorf("bench: %w", ctx.Err())
		}
		after, err := cpuTime(pid)
		if err != nil {
			return err
		}
		result.CPUShare = float64(after-before) / float64(d)
		if result.RSS, err = residentNow(pid); err != nil {
			return err
		}
		result.PeakRSS, err = peakRSS(pid)
		return err
	})
	return result, err
}
