package daemon

import "errors"

func (d *Daemon) openWASM(*spec) (loaded, error) {
	return nil, errors.New("WebAssembly modules are not supported by this build")
}
