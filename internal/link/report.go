package link

// Where things are in the third argument of a report function, above the
// watcher's id.
const (
	reportFlags = 32
	reportEvent = 40
)

// The flags in the third argument of a report function.
const (
	// ReportVeto says that this error denies the operation: it is the
	// first of the event by a watcher that may.
	ReportVeto = 1 << iota
	// ReportDryRun says that it would have, if the table were no dry run.
	ReportDryRun
)
