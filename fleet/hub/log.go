package hub

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
)

// serverLog is the log of the NATS server. Its notices are about itself, and are
// left out, but for that of a client that was closed because too much waited for it.
type serverLog struct {
	log    *slog.Logger
	failed *atomic.Bool // is set when JetStream could not write: it does not write to that stream again
}

func (l serverLog) Noticef(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if strings.Contains(text, "Slow Consumer") && !strings.Contains(text, "Recovered") {
		l.log.Warn(text)
		return
	}
	l.log.Debug(text)
}
func (l serverLog) Debugf(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l serverLog) Tracef(format string, v ...any) {}
func (l serverLog) Warnf(format string, v ...any)  { l.log.Warn(fmt.Sprintf(format, v...)) }
func (l serverLog) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if strings.Contains(text, " - authentication error") {
		l.log.Debug(text) // the hub has said whom it has rejected, and why
		return
	}
	if strings.Contains(text, "ritical write error") {
		l.failed.Store(true)
	}
	l.log.Error(text)
}
func (l serverLog) Fatalf(format string, v ...any) { l.log.Error(fmt.Sprintf(format, v...)) }
