package rewrite

// Limits on what is read. They are far above what a watcher needs, and keep a
// hostile module from costing memory or time before it runs.
const (
	MaxSize   = 32 << 20 // bytes of a file
	maxTable  = 1 << 17  // elements of all tables
	maxValues = 1000     // parameters and results of a function
	maxItems  = 1 << 18  // of any list: of functions, say, or pieces of data
)

// Limits on one function. The compiler's time and memory grow faster than
// the function does, and it cannot be interrupted. The runtime of Go has the
// largest functions that were met, of about a quarter of these.
const (
	maxLocals  = 10_000    // variables
	maxBody    = 128 << 10 // bytes of code
	maxBlocks  = 6_000     // blocks, loops and ifs
	maxNesting = 1_500     // blocks in blocks
	maxTargets = 10_000    // of all its br_tables
	maxCalls   = 10_000
	maxLoops   = 1_000
)
