package connector

import "fmt"

// DefaultBufferSize is the usual size of the socket's buffer. The kernel
// takes about 800 bytes of it for a message.
const DefaultBufferSize = 16 << 20

// Config says what to watch. The zero value watches the machine.
type Config struct {
	// PID, if not 0, narrows the scope to a running process, or that of which it
	// is a thread, and its descendants; Run then returns when all of them have
	// ended.
	PID int

	// BufferSize is the requested size of the socket's buffer in bytes; 0 means
	// DefaultBufferSize. Without CAP_NET_ADMIN the kernel gives at most
	// net.core.rmem_max: see Stats.
	BufferSize int

	// OnReady, if set, is called once by the goroutine of Run when watching
	// has begun: what happens from then on is seen.
	OnReady func()
}

func (cfg *Config) check() error {
	if cfg.PID < 0 {
		return fmt.Errorf("connector: Config.PID is %d, which is not a pid", cfg.PID)
	}
	if cfg.BufferSize < 0 || cfg.BufferSize > 1<<30 {
		return fmt.Errorf("connector: Config.BufferSize is %d; it must be from 0 to %d", cfg.BufferSize, 1<<30)
	}
	if cfg.BufferSize == 0 {
		cfg.BufferSize = DefaultBufferSize
	}
	return nil
}
