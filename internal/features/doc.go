// Package features probes the running kernel. A probe tries the effect and
// not the load, where trying is harmless: it attaches a program that only
// counts and looks whether it was called, subscribes and waits for the answer,
// traces a child of its own. Everything a probe attaches, opens or starts is
// gone when it returns.
//
// The answers hold for this process: with other privileges they may differ.
// Probes that deny something, to see a veto work, are not here but with the
// code that delivers vetoes.
//
// All functions and methods may be called from any goroutine.
package features
