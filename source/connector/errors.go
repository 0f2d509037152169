package connector

import "fmt"

// NoProcessError says that there is no process Config.PID.
type NoProcessError struct{ PID int }

func (e *NoProcessError) Error() string {
	return fmt.Sprintf("connector: there is no process %d to watch; it may have ended", e.PID)
}
