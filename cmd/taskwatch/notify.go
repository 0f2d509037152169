package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/internal/sys"
)

// notifier tells a service manager how the daemon is, in the way of
// sd_notify(3). Without one it does nothing.
type notifier struct{ log *slog.Logger }

func (n notifier) say(state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		n.log.Warn("the service manager cannot be notified", "state", state, "error", err)
	}
}

func (n notifier) ready() { n.say(systemd.SdNotifyReady) }

func (n notifier) stopping() { n.say(systemd.SdNotifyStopping) }

func (n notifier) reloading() {
	n.say(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", systemd.SdNotifyReloading, sys.Monotonic()/1000))
}

// watch keeps the watchdog quiet until ctx ends, as long as the daemon lives.
func (n notifier) watch(ctx context.Context, d *daemon.Daemon) {
	interval, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		n.log.Warn("the watchdog of the service manager is left alone", "error", err)
	}
	if err != nil || interval == 0 {
		return
	}
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		alive, cancel := context.WithTimeout(ctx, interval/2)
		err := d.Alive(alive)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			n.log.Error("the daemon does not answer its own call; the watchdog is not notified", "error", err)
		default:
			n.say(systemd.SdNotifyWatchdog)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
