// Taskwatch watches what happens to the tasks of a Linux machine: see the help
// of its commands.
package main

import "os"

func main() {
	compileAsChild()
	os.Exit(execute(os.Args[1:]))
}
