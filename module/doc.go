// Package module has what all kinds of modules share: names, parameters and
// global variables. The kinds are in the packages below it: kernel (BPF) and
// wasm (the sandbox).
package module
