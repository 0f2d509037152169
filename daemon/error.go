package daemon

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"connectrpc.com/connect"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/host"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/module/sign"
	"github.com/taskwatch/taskwatch/module/wasm"
)

// Errors to be found with errors.Is, beside those of the packages taskwatch,
// module, host, kernel and wasm.
var (
	// ErrBusy says that a module is just being loaded or unloaded.
	ErrBusy = errors.New("it is being loaded or unloaded at the moment; try again")

	// ErrClosing says that the daemon is about to end.
	ErrClosing = errors.New("the daemon is ending")

	// ErrInUse says that another daemon serves the socket.
	ErrInUse = errors.New("another daemon serves this socket")
)

// errorCodes are the codes of errors, the first that matches.
var errorCodes = []struct {
	err  error
	code connect.Code
}{
	{context.Canceled, connect.CodeCanceled},
	{context.DeadlineExceeded, connect.CodeDeadlineExceeded},
	{taskwatch.ErrNameTaken, connect.CodeAlreadyExists},
	{taskwatch.ErrRegistered, connect.CodeAlreadyExists},
	{taskwatch.ErrNotRegistered, connect.CodeNotFound},
	{ErrBusy, connect.CodeAborted},
	{ErrClosing, connect.CodeUnavailable},
	{ErrTooMany, connect.CodeResourceExhausted},
	{taskwatch.ErrInvalid, connect.CodeInvalidArgument},
	{errAhead, connect.CodeInvalidArgument},
	{wasm.ErrABI, connect.CodeInvalidArgument},
	{wasm.ErrDeadline, connect.CodeInvalidArgument}, // of its initialisation
	{wasm.ErrTrap, connect.CodeInvalidArgument},
	{wasm.ErrClosed, connect.CodeUnavailable},
	{kernel.ErrLicense, connect.CodeInvalidArgument},
	{kernel.ErrVerify, connect.CodeInvalidArgument},
	{kernel.ErrLacking, connect.CodeInvalidArgument},
	{sign.ErrUnsigned, connect.CodeFailedPrecondition},
	{sign.ErrUntrusted, connect.CodeFailedPrecondition},
	{host.ErrNoKernel, connect.CodeFailedPrecondition},
	{module.ErrNoVeto, connect.CodeFailedPrecondition},
	{module.ErrSkippable, connect.CodeFailedPrecondition},
	{errRules, connect.CodeFailedPrecondition},
	{module.ErrNoMap, connect.CodeNotFound},
	{module.ErrNoEntry, connect.CodeNotFound},
	{module.ErrBadEntry, connect.CodeInvalidArgument},
	{module.ErrUnreadable, connect.CodeFailedPrecondition},
	{module.ErrFixed, connect.CodeFailedPrecondition},
	{module.ErrTooLarge, connect.CodeResourceExhausted},
	{kernel.ErrClosed, connect.CodeUnavailable},
	{syscall.ENOMEM, connect.CodeResourceExhausted},
	{syscall.EMFILE, connect.CodeResourceExhausted},
	{syscall.ENFILE, connect.CodeResourceExhausted},
	{syscall.E2BIG, connect.CodeResourceExhausted},
	{fs.ErrPermission, connect.CodeFailedPrecondition}, // the daemon's, not the caller's
}

// rpcError returns err with its code.
func rpcError(err error) error {
	if err == nil {
		return nil
	}
	for _, c := range errorCodes {
		if errors.Is(err, c.err) {
			return connect.NewError(c.code, err)
		}
	}
	return connect.NewError(connect.CodeInternal, err)
}
