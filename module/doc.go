// Package module has what modules are of every kind: names, parameters and
// global variables. The kinds are below it: kernel (BPF) and wasm (the
// sandbox).
package module
