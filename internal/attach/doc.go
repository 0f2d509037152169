// Package attach puts programs on the kernel's hooks. Each hook has one small entry
// program, which does nothing but tail-call slot 0 of a program array; what stands
// there can be swapped while the hook is in use.
package attach
