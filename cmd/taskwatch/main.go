// Taskwatch watches what happens to the tasks of a Linux machine: see the help
// of its commands.
package main

import (
	"os"

	_ "github.com/taskwatch/taskwatch/internal/ahead" // begins with what takes long
)

func main() {
	compileAsChild()
	os.Exit(execute(os.Args[1:]))
}
