#include "textflag.h"

// A handler of signals: write(caughtFD, siginfo, 32). What it changes, the
// kernel restores; all signals are blocked meanwhile.
TEXT ·handler(SB),NOSPLIT|NOFRAME,$0
	LOCK
	INCL ·catching(SB)
	MOVL ·caughtFD(SB), DI
	MOVL $32, DX
	MOVL $1, AX // write
	SYSCALL
	LOCK
	DECL ·catching(SB)
	RET // to restorer

TEXT ·restorer(SB),NOSPLIT|NOFRAME,$0
	MOVL $15, AX // rt_sigreturn
	SYSCALL
	INT $3

// func handlerPC() uintptr
TEXT ·handlerPC(SB),NOSPLIT,$0-8
	LEAQ ·handler(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// func restorerPC() uintptr
TEXT ·restorerPC(SB),NOSPLIT,$0-8
	LEAQ ·restorer(SB), AX
	MOVQ AX, ret+0(FP)
	RET
