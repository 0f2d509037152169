#include "textflag.h"

// A handler of signals: write(caughtFD, siginfo, 32). What it changes, the
// kernel restores; all signals are blocked meanwhile. It returns to the vDSO.
TEXT ·handler(SB),NOSPLIT|NOFRAME,$0
	MOVD $·catching(SB), R9
enter:
	LDAXRW (R9), R10
	ADD $1, R10
	STLXRW R10, (R9), R11
	CBNZ R11, enter
	MOVW ·caughtFD(SB), R0
	MOVD $32, R2
	MOVD $64, R8 // write
	SVC
	MOVD $·catching(SB), R9
leave:
	LDAXRW (R9), R10
	SUB $1, R10
	STLXRW R10, (R9), R11
	CBNZ R11, leave
	RET

// func handlerPC() uintptr
TEXT ·handlerPC(SB),NOSPLIT,$0-8
	MOVD $·handler(SB), R0
	MOVD R0, ret+0(FP)
	RET

// func restorerPC() uintptr
TEXT ·restorerPC(SB),NOSPLIT,$0-8
	MOVD ZR, ret+0(FP)
	RET
