package daemon

// exempt keeps the vetoes of modules from stopping a client that unloads one,
// until release is called. What keeps it from that, a client that has gone or
// is in a pid namespace that the daemon does not see, does not matter to the
// unloading.
func (d *Daemon) exempt(p peer) (release func()) {
	table := d.host.Table()
	if table == nil || p.pid <= 0 {
		return func() {}
	}
	release, err := table.Exempt(int(p.pid))
	if err != nil {
		d.log.Debug("a client stays subject to vetoes", "pid", p.pid, "error", err)
		return func() {}
	}
	return release
}
