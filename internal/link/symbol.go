package link

import (
	"fmt"
	"strings"

	"github.com/taskwatch/taskwatch/internal/plan"
)

// The symbols of functions that the header's macros make.
const (
	watcherSymbol = "__task_watcher_" // ev_fn
	emitSymbol    = watcherSymbol + "emit"

	EmitStructSymbol = emitSymbol + "_struct"
	LogSymbol        = watcherSymbol + "log"
)

// IsEmit reports whether a function is none of the module's: the linker makes it,
// for what the module sends.
func IsEmit(symbol string) bool {
	return symbol == emitSymbol || symbol == EmitStructSymbol || symbol == LogSymbol
}

// SplitSymbol takes apart the name that the header's macro makes of a list and
// a function.
func SplitSymbol(symbol string) (e plan.List, function string, ok bool) {
	rest, ours := strings.CutPrefix(symbol, watcherSymbol)
	name, function, cut := strings.Cut(rest, "_")
	e, err := plan.ParseList(name)
	return e, function, ours && cut && err == nil
}

// InWords names a function as its author does: the compiler has put what a
// watcher calls into the function that the macro has made of it.
func InWords(symbol string) string {
	if e, function, ok := SplitSymbol(symbol); ok {
		return fmt.Sprintf("watcher %s on %s", function, e)
	}
	return "function " + symbol
}
