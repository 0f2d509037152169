package module

import (
	"fmt"
	"slices"
	"strings"
)

// The powers that a module in the kernel can ask for with MODULE_POWER, to do
// more than watch and deny.
const (
	PowerSignal     = "signal"      // send signals to tasks
	PowerUserMemory = "user_memory" // write to the memory of tasks
	PowerResult     = "result"      // change what functions of the kernel return or do
)

// Powers lists all.
var Powers = []string{PowerSignal, PowerUserMemory, PowerResult}

func checkPower(name string) error {
	if !slices.Contains(Powers, name) {
		return fmt.Errorf("MODULE_POWER(%s): the powers are %s", name, strings.Join(Powers, ", "))
	}
	return nil
}
