package link

import "github.com/cilium/ebpf/asm"

// NumBuckets is how many buckets a histogram of calls has.
const NumBuckets = 32

// The words of one watcher in the map of a module's calls, which has a value
// per watcher and CPU.
const (
	TimingNS = iota
	TimingBuckets
	TimingWords = TimingBuckets + NumBuckets
)

// startTiming puts the time aside. It uses R0 to R5.
func (g *gen) startTiming() {
	g.emit(
		asm.FnKtimeGetNs.Call(),
		asm.StoreMem(asm.RFP, stackStart, asm.R0, asm.DWord),
	)
}

// endTiming counts a call of the n-th watcher of a map. It keeps R0, which is
// the watcher's result, and uses R1 to R5.
//
// A task may be preempted in the middle, hence the atomic additions to words
// that are the CPU's own.
func (g *gen) endTiming(m asm.FDer, n int, counted string) {
	g.emit(
		asm.StoreMem(asm.RFP, stackResult, asm.R0, asm.DWord),
		asm.FnKtimeGetNs.Call(),
		asm.LoadMem(asm.R1, asm.RFP, stackStart, asm.DWord),
		asm.Sub.Reg(asm.R0, asm.R1),
		asm.StoreMem(asm.RFP, stackStart, asm.R0, asm.DWord),
		asm.StoreImm(asm.RFP, stackKey, int64(n), asm.Word),
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, stackKey),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, counted),
		asm.LoadMem(asm.R1, asm.RFP, stackStart, asm.DWord),
		asm.AddAtomic.Mem(asm.R0, asm.R1, asm.DWord, 8*TimingNS),
		// The bucket: R2 is the number of the highest bit of R1, found
		// without branches, which would multiply the verifier's work. 2^31
		// ns and more are the last one's.
		asm.Mov.Imm(asm.R4, 1), asm.LSh.Imm(asm.R4, 31), asm.Sub.Imm(asm.R4, 1),
		asm.Mov.Reg(asm.R3, asm.R4), asm.Sub.Reg(asm.R3, asm.R1),
		asm.ArSh.Imm(asm.R3, 63), asm.And.Reg(asm.R3, asm.R4), asm.Or.Reg(asm.R1, asm.R3),
		asm.And.Reg(asm.R1, asm.R4),
		asm.RSh.Imm(asm.R3, 30), // 1 where it was too much
		asm.Mov.Imm(asm.R2, 0),
	)
	for bits := 4; bits >= 0; bits-- { // is anything left above the lowest 1<<bits?
		g.emit(
			asm.Mov.Imm(asm.R4, int32(1)<<(1<<bits)-1),
			asm.Sub.Reg(asm.R4, asm.R1),
			asm.RSh.Imm(asm.R4, 63),
			asm.LSh.Imm(asm.R4, int32(bits)),
			asm.RSh.Reg(asm.R1, asm.R4),
			asm.Add.Reg(asm.R2, asm.R4),
		)
	}
	g.emit(
		asm.Add.Reg(asm.R2, asm.R3),
		asm.And.Imm(asm.R2, NumBuckets-1),
		asm.LSh.Imm(asm.R2, 3),
		asm.Add.Reg(asm.R0, asm.R2),
		asm.Mov.Imm(asm.R2, 1),
		asm.AddAtomic.Mem(asm.R0, asm.R2, asm.DWord, 8*TimingBuckets),
	)
	g.mark(counted)
	g.emit(asm.LoadMem(asm.R0, asm.RFP, stackResult, asm.DWord))
}
