package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// This file writes the loops on AMX tiles: registers of 16 rows of 64 bytes. Go's
// assembler does not know their instructions, so they are written as BYTE
// directives, on physical registers. The encodings are those of the Intel manual,
// volume 2: VEX, opcode map 0F38, W0.

// The prefixes of VEX.
const (
	prefixNone = iota
	prefix66
	prefixF3
	prefixF2
)

func emit(text string, bytes ...byte) {
	Comment(text)
	for _, b := range bytes {
		Instruction(&ir.Instruction{Opcode: "BYTE", Operands: []Op{U8(b)}})
	}
}

// vex are the three bytes before the opcode; v is the register in vvvv.
func vex(index, base reg.Physical, v byte, prefix byte) []byte {
	high := func(r reg.Physical) byte {
		if r == nil {
			return 1
		}
		return ^(number(r) >> 3) & 1
	}
	return []byte{0xC4, 1<<7 | high(index)<<6 | high(base)<<5 | 2, (^v&15)<<3 | prefix}
}

// tileMem is a tile in memory: rows from base+disp on, index bytes apart.
type tileMem struct {
	base, index reg.Physical
	disp        int
}

func (m tileMem) String() string {
	return fmt.Sprintf("%d(%s)(%s*1)", m.disp, m.base.Asm(), m.index.Asm())
}

// memory is a VEX instruction on tile t and memory.
func memory(name string, prefix, opcode, t byte, m tileMem) {
	d := uint32(int32(m.disp))
	bytes := append(vex(m.index, m.base, 0, prefix), opcode, 0x84|t<<3, number(m.index)&7<<3|number(m.base)&7,
		byte(d), byte(d>>8), byte(d>>16), byte(d>>24))
	emit(fmt.Sprintf("%s %v, T%d", name, m, t), bytes...)
}

func TILELOADD(m tileMem, t byte)  { memory("TILELOADD", prefixF2, 0x4B, t, m) }
func TILESTORED(t byte, m tileMem) { memory("TILESTORED", prefixF3, 0x4B, t, m) }
func TILEZERO(t byte) {
	emit(fmt.Sprintf("TILEZERO T%d", t), append(vex(nil, nil, 0, prefixF2), 0x49, 0xC0|t<<3)...)
}
func TILERELEASE() { emit("TILERELEASE", append(vex(nil, nil, 0, prefixNone), 0x49, 0xC0)...) }

// LDTILECFG reads the shapes of the tiles from 64 bytes at base.
func LDTILECFG(base reg.Physical) {
	m := []byte{0x49, 0x80 | number(base)&7, 0, 0, 0, 0}
	if number(base)&7 == 4 {
		panic("this base needs an index byte")
	}
	emit("LDTILECFG ("+base.Asm()+")", append(vex(nil, base, 0, prefixNone), m...)...)
}

// TDPBF16PS adds to tile c the products of the pairs of a and b.
func TDPBF16PS(c, a, b byte) {
	emit(fmt.Sprintf("TDPBF16PS T%d, T%d, T%d", b, a, c), append(vex(nil, nil, b, prefixF3), 0x5C, 0xC0|c<<3|a)...)
}

// into reads a parameter into a physical register.
func into(name string, r reg.GPPhysical) { Load(Param(name), r) }

// amx writes the loops on tiles.
func amx() {
	peakTiles()
	for _, rows := range []int{32, 16} {
		tilePairs(rows)
	}
	for _, h := range []int{16, 8, 4, 2, 1} {
		tileBlocks(h)
	}
	for _, h := range []int{16, 8} {
		tileStream(h, 4)
		tileStream(h, 8)
	}
	roundTiles()
	unpackTiles(4)
	unpackTiles(8)
	for h := 4; h > 0; h-- {
		tileLane(h, 4)
		tileLane(h, 8)
	}
	tileFloats()
	dense(4)
	dense(8)
	lowTiles()
}

// peakTiles writes a loop of products on registers.
func peakTiles() {
	TEXT("peakTiles", NOSPLIT, "func(n int, config *byte)")
	Pragma("noescape")
	Doc("peakTiles runs n rounds of four products of tiles of bfloat16.")
	into("config", reg.RAX)
	into("n", reg.RCX)
	LDTILECFG(reg.RAX)
	Label("loop")
	TDPBF16PS(0, 4, 6)
	TDPBF16PS(1, 4, 7)
	TDPBF16PS(2, 5, 6)
	TDPBF16PS(3, 5, 7)
	DECQ(reg.RCX)
	JNZ(LabelRef("loop"))
	TILERELEASE()
	RET()
}

// tilePairs writes tilePairs<rows>: groups of up to so many rows times np panels of
// pairs, 32 columns wide.
func tilePairs(rows int) {
	TEXT(fmt.Sprintf("tilePairs%d", rows), NOSPLIT, "func(np, groups, k2 int, a *uint32, rs int, b *uint32, bs int, c *float32, ldc int, add int, config *byte)")
	Pragma("noescape")
	Doc(fmt.Sprintf("tilePairs%d is tilePairsGeneric on groups of up to %d rows.", rows, rows))
	rs, b, c, ldc := reg.R8, reg.RDI, reg.RDX, reg.R10
	width, x, x2, right, c2, n, np := reg.R9, reg.RAX, reg.RBX, reg.R12, reg.R13, reg.RCX, reg.R11
	into("config", n)
	LDTILECFG(n)
	into("rs", rs)
	into("ldc", ldc)
	SHLQ(U8(2), rs)
	SHLQ(U8(2), ldc)
	MOVQ(U32(4*32), width)
	two := rows == 32
	columns := func(f func(t byte, m tileMem)) {
		f(0, tileMem{c, ldc, 0})
		f(1, tileMem{c, ldc, 64})
		if two {
			f(2, tileMem{c2, ldc, 0})
			f(3, tileMem{c2, ldc, 64})
		}
	}
	// Group by group, whose rows then stay in the first cache; panels come in a row.
	Label("group")
	into("b", b)
	into("c", c)
	into("np", np)
	Label("panel")
	into("a", x)
	if two {
		MOVQ(rs, x2)
		SHLQ(U8(4), x2)
		ADDQ(x, x2)
		MOVQ(ldc, c2)
		SHLQ(U8(4), c2)
		ADDQ(c, c2)
	}
	MOVQ(b, right)
	Load(Param("k2"), n)
	SHRQ(U8(4), n)
	CMPQ(slot("add"), U8(0))
	JNE(LabelRef("add"))
	columns(func(t byte, _ tileMem) { TILEZERO(t) })
	JMP(LabelRef("loop"))
	Label("add")
	columns(func(t byte, m tileMem) { TILELOADD(m, t) })
	Label("loop")
	TILELOADD(tileMem{x, rs, 0}, 4)
	TILELOADD(tileMem{right, width, 0}, 6)
	TDPBF16PS(0, 4, 6)
	TILELOADD(tileMem{right, width, 64}, 7)
	TDPBF16PS(1, 4, 7)
	if two {
		TILELOADD(tileMem{x2, rs, 0}, 5)
		TDPBF16PS(2, 5, 6)
		TDPBF16PS(3, 5, 7)
		ADDQ(U8(64), x2)
	}
	ADDQ(U8(64), x)
	ADDQ(U32(16*4*32), right)
	DECQ(n)
	JNZ(LabelRef("loop"))
	columns(func(t byte, m tileMem) { TILESTORED(t, m) })
	shift := uint8(4)
	if two {
		shift = 5
	}
	ADDQ(U32(4*32), c)
	MOVQ(slot("bs"), x)
	SHLQ(U8(2), x)
	ADDQ(x, b)
	DECQ(np)
	JNZ(LabelRef("panel"))
	MOVQ(rs, x)
	SHLQ(U8(shift), x)
	ADDQ(x, slot("a"))
	MOVQ(ldc, x)
	SHLQ(U8(shift), x)
	ADDQ(x, slot("c"))
	DECQ(slot("groups"))
	JNZ(LabelRef("group"))
	TILERELEASE()
	RET()
}

// blocks is a tileBlocks being written: products of unpacked whole numbers, a
// block of 32 at a time, each in a tile of its own, whose numbers are multiplied by
// the scales of the block once they have been stored. Four tiles are on their way.
type blocks struct{ h int }

var (
	blockA, blockRS, blockC, blockLDC = reg.RSI, reg.R10, reg.RDX, reg.R11
	blockX, blockB, blockD, blockN    = reg.RAX, reg.RDI, reg.RBX, reg.RCX
	blockRoom, blockS, blockDS        = reg.R12, reg.R13, reg.R9
	blockWidth, blockGroups           = reg.R8, reg.R14
)

// clearSums writes zeros under rows that are not there.
func (w blocks) clearSums() {
	VPXORD(z[31], z[31], z[31])
	for i := range 4 * w.h {
		VMOVUPS(z[31], Mem{Base: blockS, Disp: 1024*(i/w.h) + 64*(i%w.h)})
	}
}

// finish brings in what is left of four tiles on their way, and the last blocks, as
// many as R15 says.
func (w blocks) finish() {
	for rest := range 3 {
		CMPQ(reg.R15, U8(uint8(rest)))
		JEQ(LabelRef(fmt.Sprint("rest", rest)))
	}
	for rest := 3; rest >= 0; rest-- {
		Label(fmt.Sprint("rest", rest))
		for t := range rest {
			w.next(t)
		}
		for t := rest; t < 4; t++ {
			w.store(t)
			w.add(t, 32*t-128)
		}
		for t := range rest {
			w.store(t)
			w.add(t, 32*t)
		}
		JMP(LabelRef("write"))
	}
}

// few computes fewer than four blocks in all, as many as R15 says.
func (w blocks) few() {
	Label("few")
	w.start(0)
	w.store(0)
	w.add(0, 0)
	w.forward(1)
	DECQ(reg.R15)
	JNZ(LabelRef("few"))
}

// write writes the totals.
func (w blocks) write() {
	Label("write")
	MOVQ(blockC, blockX)
	Load(Param("rows"), blockN)
	for i := range w.h {
		VMOVUPS(z[i], Mem{Base: blockX})
		if i+1 < w.h {
			DECQ(blockN)
			JZ(LabelRef("written"))
			ADDQ(blockLDC, blockX)
		}
	}
	Label("written")
}

// start begins the product of block t of the four in tile t.
func (w blocks) start(t int) {
	TILEZERO(byte(t))
	TILELOADD(tileMem{blockX, blockRS, 64 * t}, byte(4+t%2))
	TILELOADD(tileMem{blockB, blockWidth, 1024 * t}, byte(6+t%2))
	TDPBF16PS(byte(t), byte(4+t%2), byte(6+t%2))
}

func (w blocks) store(t int) { TILESTORED(byte(t), tileMem{blockS, blockWidth, 1024 * t}) }

// add adds tile t, stored, to the totals; its scales are at disp.
func (w blocks) add(t, disp int) {
	VCVTPH2PS(Mem{Base: blockD, Disp: disp}, z[30])
	for i := range w.h {
		VFMADD231PS(Mem{Base: blockS, Disp: 1024*t + 64*i}, z[30], z[i])
	}
}

// next brings in the block before in tile t and starts another.
func (w blocks) next(t int) {
	w.store(t)
	w.start(t)
	w.add(t, 32*t-128)
}

func (w blocks) forward(n int) {
	ADDQ(U32(uint32(64*n)), blockX)
	ADDQ(U32(uint32(1024*n)), blockB)
	ADDQ(U32(uint32(32*n)), blockD)
}

// tileBlocks writes tileBlocks<h>.
func tileBlocks(h int) {
	TEXT(fmt.Sprintf("tileBlocks%d", h), NOSPLIT, "func(np, nblk, extra, groups, rows int, b *uint32, ds *uint16, a *uint32, rs int, c *float32, ldc int, sums *float32, config *byte)")
	Pragma("noescape")
	Doc(fmt.Sprintf("tileBlocks%d is tileBlocksGeneric on groups of up to %d rows.", h, h))
	w := blocks{h}
	into("config", blockN)
	LDTILECFG(blockN)
	into("rs", blockRS)
	into("ldc", blockLDC)
	into("sums", blockS)
	into("b", blockRoom)
	into("ds", blockDS)
	SHLQ(U8(2), blockRS)
	SHLQ(U8(2), blockLDC)
	MOVQ(U32(64), blockWidth)
	w.clearSums()
	Label("panel")
	into("a", blockA)
	into("c", blockC)
	into("groups", blockGroups)
	Label("group")
	MOVQ(blockA, blockX)
	MOVQ(blockRoom, blockB)
	MOVQ(blockDS, blockD)
	Load(Param("extra"), blockN)
	CMPQ(blockN, U8(0))
	JNE(LabelRef("minima"))
	for i := range h {
		VPXORD(z[i], z[i], z[i])
	}
	JMP(LabelRef("scaled"))
	Label("minima") // they lie behind the blocks
	TILEZERO(0)
	MOVQ(slot("nblk"), reg.R15)
	SHLQ(U8(6), reg.R15)
	ADDQ(reg.R15, blockX)
	SHLQ(U8(4), reg.R15)
	ADDQ(reg.R15, blockB)
	Label("minimaloop")
	TILELOADD(tileMem{blockX, blockRS, 0}, 4)
	TILELOADD(tileMem{blockB, blockWidth, 0}, 6)
	TDPBF16PS(0, 4, 6)
	ADDQ(U8(64), blockX)
	ADDQ(U32(1024), blockB)
	DECQ(blockN)
	JNZ(LabelRef("minimaloop"))
	w.store(0)
	MOVQ(blockA, blockX)
	MOVQ(blockRoom, blockB)
	for i := range h {
		VMOVUPS(Mem{Base: blockS, Disp: 64 * i}, z[i])
	}
	Label("scaled")
	Load(Param("nblk"), blockN)
	MOVQ(blockN, reg.R15)
	ANDQ(U8(3), reg.R15)
	SHRQ(U8(2), blockN)
	JZ(LabelRef("few"))
	for t := range 4 {
		w.start(t)
	}
	w.forward(4)
	JMP(LabelRef("test"))
	Label("quad")
	for t := range 4 {
		w.next(t)
	}
	w.forward(4)
	Label("test")
	DECQ(blockN)
	JNZ(LabelRef("quad"))
	w.finish()
	w.few()
	w.write()
	MOVQ(blockRS, reg.R15)
	SHLQ(U8(4), reg.R15)
	ADDQ(reg.R15, blockA)
	MOVQ(blockLDC, reg.R15)
	SHLQ(U8(4), reg.R15)
	ADDQ(reg.R15, blockC)
	DECQ(blockGroups)
	JNZ(LabelRef("group"))
	ADDQ(U8(64), slot("c"))
	MOVQ(slot("nblk"), reg.R15)
	MOVQ(reg.R15, blockX)
	SHLQ(U8(5), blockX)
	ADDQ(blockX, blockDS)
	ADDQ(slot("extra"), reg.R15)
	SHLQ(U8(10), reg.R15)
	ADDQ(reg.R15, blockRoom)
	DECQ(slot("np"))
	JNZ(LabelRef("panel"))
	TILERELEASE()
	VZEROUPPER()
	RET()
}

// roundTiles writes roundTilesAVX512.
func roundTiles() {
	TEXT("roundTilesAVX512", NOSPLIT, "func(nblk int, x *float32, dst, extra *uint32)")
	Pragma("noescape")
	Doc("roundTilesAVX512 is roundTilesGeneric.")
	n, x, dst, extra := param("nblk"), param("x"), param("dst"), param("extra")
	VMOVDQU32(orderTable(), z[31])
	fill(0xffff0000, z[30])
	Label("loop")
	roundBlock(x, dst)
	VBROADCASTSS(reg.X4, z[4])
	VCVTNE2PS2BF16(z[4], z[4], z[5]) // the sum, rounded …
	VPSLLD(U8(16), z[5], z[6])
	VSUBPS(z[6], z[4], z[6]) // … and what that leaves
	VCVTNE2PS2BF16(z[6], z[6], z[6])
	VPSLLD(U8(16), z[6], z[6])
	VPSRLD(U8(16), z[5], z[5])
	VPORD(z[5], z[6], z[5])
	VMOVQ(reg.X5, Mem{Base: extra})
	ADDQ(U32(128), x)
	ADDQ(U8(64), dst)
	ADDQ(U8(8), extra)
	DECQ(n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// minimaText writes the minima of a block of 16 columns as two rows of pairs, of
// their rounded value and of what that leaves.
func minimaText(ms, dst reg.Register) {
	VCVTPH2PS(Mem{Base: ms}, z[0])
	VCVTNE2PS2BF16(z[0], z[0], z[1])
	VPERMW(z[1], z[29], z[1]) // every number twice
	VPSLLD(U8(16), z[1], z[2])
	VSUBPS(z[2], z[0], z[2])
	VCVTNE2PS2BF16(z[2], z[2], z[2])
	VPERMW(z[2], z[29], z[2])
	VMOVUPS(z[1], Mem{Base: dst})
	VMOVUPS(z[2], Mem{Base: dst, Disp: 64})
}

var twice Mem

// twiceTable is the order 0, 0, 1, 1, … 15, 15.
func twiceTable() Mem {
	if twice.Base == nil {
		twice = GLOBL("twice", RODATA|NOPTR)
		for i := range 16 {
			DATA(4*i, U32(uint32(i)|uint32(i)<<16))
		}
	}
	return twice
}

// unpackText writes unpackTiles<bits>: block writes one block.
func unpackText(bits int, prepare func(minima bool), block func(qs, dst reg.GPVirtual)) {
	TEXT(fmt.Sprintf("unpackTiles%d", bits), NOSPLIT, "func(np, nblk, extra int, qs *byte, ms *uint16, dst *uint32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("unpackTiles%d is unpackTilesGeneric for %d bits.", bits, bits))
	qs, ms, dst, n := param("qs"), param("ms"), param("dst"), GP64()
	VMOVDQU32(twiceTable(), z[29])
	VPXORD(z[28], z[28], z[28])
	CMPQ(slot("extra"), U8(0))
	JNE(LabelRef("least"))
	prepare(false)
	JMP(LabelRef("panel"))
	Label("least")
	prepare(true)
	Label("panel")
	Load(Param("nblk"), n)
	Label("block")
	block(qs, dst)
	ADDQ(U32(uint32(64*bits)), qs)
	ADDQ(U32(1024), dst)
	DECQ(n)
	JNZ(LabelRef("block"))
	CMPQ(slot("extra"), U8(0))
	JEQ(LabelRef("next"))
	Load(Param("nblk"), n)
	end := GP64()
	Load(Param("extra"), end)
	SHLQ(U8(10), end)
	ADDQ(dst, end)
	Label("minima")
	minimaText(ms, dst)
	ADDQ(U8(32), ms)
	ADDQ(U32(128), dst)
	DECQ(n)
	JNZ(LabelRef("minima"))
	JMP(LabelRef("clears"))
	Label("clear")
	VMOVUPS(z[28], Mem{Base: dst})
	ADDQ(U8(64), dst)
	Label("clears")
	CMPQ(dst, end)
	JNE(LabelRef("clear"))
	Label("next")
	DECQ(slot("np"))
	JNZ(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// prepare loads what unpackBlock needs into z25-z27 and z31.
func prepare(bits int) func(minima bool) {
	return func(minima bool) {
		if bits == 4 {
			zero := 8
			if minima {
				zero = 0
			}
			VMOVDQU32(wholeTable(zero), z[31])
			return
		}
		zero := uint32(0x4B000080) // 2²³ + 128
		if minima {
			zero = 0x4B000000
		}
		fill(zero, z[31])
		fill(0x4B000000, z[25])
		fill(0xff, z[27])
		fill(0xffff0000, z[26])
	}
}

// unpackBlock writes a block of whole numbers as a tile. It uses z16-z23.
func unpackBlock(bits int, qs reg.Register, dst reg.Register) {
	if bits == 4 {
		raw := z[16:20]
		for i := range 4 {
			VMOVDQU32(Mem{Base: qs, Disp: 64 * i}, raw[i])
			PREFETCHT0(Mem{Base: qs, Disp: 64*i + ahead})
		}
		for s := range 4 {
			for i := range 4 {
				if s > 0 {
					VPSRLW(U8(4), raw[i], raw[i])
				}
				VPERMW(z[31], raw[i], z[20+i])
				VMOVUPS(z[20+i], Mem{Base: dst, Disp: 64 * (4*i + s)})
			}
		}
		return
	}
	for i := range 8 {
		raw, q := z[16], z[17:21]
		VMOVDQU32(Mem{Base: qs, Disp: 64 * i}, raw)
		PREFETCHT0(Mem{Base: qs, Disp: 64*i + 2*ahead})
		VMOVDQA32(raw, q[0])
		for e := 1; e < 4; e++ {
			VPSRLD(U8(uint8(8*e)), raw, q[e])
		}
		for e := range 4 { // a float whose last bits are the number
			VPTERNLOGD(U8(0xEA), z[25], z[27], q[e]) // (q & z27) | z25
			VSUBPS(z[31], q[e], q[e])
		}
		for e := range 2 {
			VPSRLD(U8(16), q[e], q[e])
			VPTERNLOGD(U8(0xEA), q[e], z[26], q[e+2]) // (second & high) | first
			VMOVUPS(q[e+2], Mem{Base: dst, Disp: 64 * (4*(i/2) + i%2 + 2*e)})
		}
	}
}

func unpackTiles(bits int) {
	unpackText(bits, prepare(bits), func(qs, dst reg.GPVirtual) { unpackBlock(bits, qs, dst) })
}

// tileStream writes tileStream<bits>x<h>: what unpackTiles and tileBlocks do one
// after the other, for one group of rows, in one sweep. A block is unpacked four
// blocks before it is multiplied, as stores reach tiles by way of the cache only.
func tileStream(h, bits int) {
	name := fmt.Sprintf("tileStream%dx%d", bits, h)
	TEXT(name, NOSPLIT, "func(np, nblk, extra, rows int, qs *byte, ds, ms *uint16, a *uint32, rs int, c *float32, ldc int, room, sums *float32, config *byte)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes what tileBlocks does, the same bits, for up to %d rows and packed weights of %d bits.", name, h, bits))
	w := blocks{h}
	write, qs, left := reg.R14, reg.R12, reg.R15
	into("config", blockN)
	LDTILECFG(blockN)
	into("a", blockA)
	into("rs", blockRS)
	into("ldc", blockLDC)
	into("sums", blockS)
	into("ds", blockDS)
	SHLQ(U8(2), blockRS)
	SHLQ(U8(2), blockLDC)
	MOVQ(U32(64), blockWidth)
	w.clearSums()
	VMOVDQU32(twiceTable(), z[29])
	VPXORD(z[28], z[28], z[28])
	CMPQ(slot("extra"), U8(0))
	JNE(LabelRef("least"))
	prepare(bits)(false)
	JMP(LabelRef("panel"))
	Label("least")
	prepare(bits)(true)
	// unpack makes the next block, or the first once more when there is none.
	unpack := func(t int) {
		ADDQ(U32(1024), write)
		unpackBlock(bits, qs, write)
		ADDQ(U32(uint32(64*bits)), qs)
		DECQ(left)
		CMOVQLE(slot("qs"), qs)
		if t == 3 {
			SUBQ(U32(4096), write)
		}
	}
	swap := func() {
		w.forward(4)
		SUBQ(U32(4096), blockB)
		ADDQ(U32(1024), write)
		XCHGQ(blockB, write)
		SUBQ(U32(1024), write)
	}
	Label("panel")
	into("c", blockC)
	into("qs", qs)
	into("room", blockB)
	MOVQ(blockB, write)
	SUBQ(U32(1024), write)
	into("nblk", left)
	for t := range 4 {
		unpack(t)
	}
	ADDQ(U32(4096), write)
	MOVQ(blockA, blockX)
	MOVQ(blockDS, blockD)
	Load(Param("extra"), blockN)
	CMPQ(blockN, U8(0))
	JNE(LabelRef("minima"))
	for i := range h {
		VPXORD(z[i], z[i], z[i])
	}
	JMP(LabelRef("scaled"))
	Label("minima") // to the room behind the eight blocks
	into("ms", blockD)
	LEAQ(Mem{Base: blockB, Disp: 8192}, blockC)
	SHLQ(U8(10), blockN)
	ADDQ(blockC, blockN)
	Load(Param("nblk"), blockX)
	Label("minimum")
	minimaText(blockD, blockC)
	ADDQ(U8(32), blockD)
	ADDQ(U32(128), blockC)
	DECQ(blockX)
	JNZ(LabelRef("minimum"))
	MOVQ(blockD, slot("ms"))
	JMP(LabelRef("clears"))
	Label("clear")
	VMOVUPS(z[28], Mem{Base: blockC})
	ADDQ(U8(64), blockC)
	Label("clears")
	CMPQ(blockC, blockN)
	JNE(LabelRef("clear"))
	MOVQ(slot("nblk"), blockX)
	SHLQ(U8(6), blockX)
	ADDQ(blockA, blockX)
	LEAQ(Mem{Base: blockB, Disp: 8192}, blockC)
	TILEZERO(0)
	Label("minimaloop")
	TILELOADD(tileMem{blockX, blockRS, 0}, 4)
	TILELOADD(tileMem{blockC, blockWidth, 0}, 6)
	TDPBF16PS(0, 4, 6)
	ADDQ(U8(64), blockX)
	ADDQ(U32(1024), blockC)
	CMPQ(blockC, blockN)
	JNE(LabelRef("minimaloop"))
	w.store(0)
	MOVQ(blockA, blockX)
	MOVQ(blockDS, blockD)
	into("c", blockC)
	for i := range h {
		VMOVUPS(Mem{Base: blockS, Disp: 64 * i}, z[i])
	}
	Label("scaled")
	Load(Param("nblk"), blockN)
	SHRQ(U8(2), blockN)
	JZ(LabelRef("small"))
	for t := range 4 {
		w.start(t)
		unpack(t)
	}
	swap()
	JMP(LabelRef("test"))
	Label("quad")
	for t := range 4 {
		w.next(t)
		unpack(t)
	}
	swap()
	Label("test")
	DECQ(blockN)
	JNZ(LabelRef("quad"))
	into("nblk", reg.R15)
	ANDQ(U8(3), reg.R15)
	w.finish()
	Label("small")
	into("nblk", reg.R15)
	w.few()
	w.write()
	ADDQ(U8(64), slot("c"))
	MOVQ(slot("nblk"), blockX)
	SHLQ(U8(5), blockX)
	ADDQ(blockX, blockDS)
	SHLQ(U8(uint8(map[int]int{4: 3, 8: 4}[bits])), blockX)
	ADDQ(blockX, slot("qs"))
	DECQ(slot("np"))
	JNZ(LabelRef("panel"))
	TILERELEASE()
	VZEROUPPER()
	RET()
}

// lanes is a tileLane being written: a tileBlocks for few rows, without tiles. It
// adds up even and odd places apart as the tiles do.
type lanes struct {
	h, bits          int
	qs, ds, ms, c, a reg.GPVirtual
	rs, ldc          reg.GPVirtual
	x                *rowSet
	even, odd, total []reg.VecPhysical
}

// tileLane writes tileLane<bits>x<h>.
func tileLane(h, bits int) {
	name := fmt.Sprintf("tileLane%dx%d", bits, h)
	TEXT(name, NOSPLIT, "func(np, nblk, extra int, qs *byte, ds, ms *uint16, a *float32, rs int, c *float32, ldc int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes what tileBlocks does, the same bits, for %d rows and weights of %d bits.", name, h, bits))
	w := &lanes{h: h, bits: bits, qs: param("qs"), ds: param("ds"), ms: param("ms"), c: param("c"), rs: param("rs"), ldc: param("ldc"), a: GP64()}
	w.even, w.odd, w.total = z[:h], z[4:4+h], z[8:8+h]
	SHLQ(U8(2), w.rs)
	SHLQ(U8(2), w.ldc)
	fill(0xffff0000, z[26])
	VMOVDQU32(twiceTable(), z[29])
	if bits == 8 {
		fill(0x4B000080, z[31])
		fill(0x4B000000, z[30])
		fill(0xff, z[27])
	} else {
		VMOVUPS(floatTable(8), z[31])
	}
	CMPQ(slot("extra"), U8(0))
	JEQ(LabelRef("panel"))
	if bits == 8 {
		fill(0x4B000000, z[31])
	} else {
		VMOVUPS(floatTable(0), z[31])
	}
	Label("panel")
	for _, t := range w.total {
		VPXORD(t, t, t)
	}
	Load(Param("a"), w.a)
	CMPQ(slot("extra"), U8(0))
	JEQ(LabelRef("scaled"))
	w.minima()
	Label("scaled")
	Load(Param("a"), w.a)
	w.x = rowsFrom(w.a, w.rs, h)
	n := GP64()
	Load(Param("nblk"), n)
	Label("block")
	w.zero()
	if bits == 4 {
		w.block4()
	} else {
		w.block8()
	}
	VCVTPH2PS(Mem{Base: w.ds}, z[12])
	for m := range h {
		VADDPS(w.even[m], w.odd[m], w.even[m])
		VFMADD231PS(w.even[m], z[12], w.total[m])
	}
	for _, p := range w.x.bases {
		ADDQ(U32(128), p)
	}
	ADDQ(U32(uint32(64*bits)), w.qs)
	ADDQ(U8(32), w.ds)
	DECQ(n)
	JNZ(LabelRef("block"))
	row := GP64()
	MOVQ(w.c, row)
	for m := range h {
		VMOVUPS(w.total[m], Mem{Base: row})
		if m+1 < h {
			ADDQ(w.ldc, row)
		}
	}
	ADDQ(U8(64), w.c)
	DECQ(slot("np"))
	JNZ(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

func (w *lanes) zero() {
	for m := range w.h {
		VPXORD(w.even[m], w.even[m], w.even[m])
		VPXORD(w.odd[m], w.odd[m], w.odd[m])
	}
}

// times adds weights times the float at disp of each row.
func (w *lanes) times(weights reg.VecPhysical, disp int, sums []reg.VecPhysical) {
	for m := range w.h {
		at := w.x.at[m]
		at.Disp = disp
		VFMADD231PS_BCST(at, weights, sums[m])
	}
}

// minima adds minima times sums, eight blocks at a time.
func (w *lanes) minima() {
	n, left := GP64(), GP64()
	Load(Param("nblk"), n)
	MOVQ(n, left)
	SHLQ(U8(7), left)
	ADDQ(left, w.a)
	w.x = rowsFrom(w.a, w.rs, w.h)
	Label("eight")
	MOVQ(U32(8), left)
	w.zero()
	Label("minimum")
	VCVTPH2PS(Mem{Base: w.ms}, z[12])
	for i := range 2 {
		VCVTNE2PS2BF16(z[12], z[12], z[13])
		VPERMW(z[13], z[29], z[13])
		VPANDD(z[13], z[26], z[13])
		w.times(z[13], 0, w.even)
		w.times(z[13], 4, w.odd)
		if i == 0 {
			VSUBPS(z[13], z[12], z[12])
		}
	}
	for _, p := range w.x.bases {
		ADDQ(U8(8), p)
	}
	ADDQ(U8(32), w.ms)
	DECQ(n)
	JZ(LabelRef("eighth"))
	DECQ(left)
	JNZ(LabelRef("minimum"))
	Label("eighth")
	for m := range w.h {
		VADDPS(w.even[m], w.odd[m], w.even[m])
		VADDPS(w.even[m], w.total[m], w.total[m])
	}
	CMPQ(n, U8(0))
	JNE(LabelRef("eight"))
}

func (w *lanes) block4() {
	for i := range 4 {
		raw, q := z[14+i%2], z[16:20]
		VMOVDQU32(Mem{Base: w.qs, Disp: 64 * i}, raw)
		PREFETCHT0(Mem{Base: w.qs, Disp: 64*i + ahead})
		for s := range 8 { // even places lie in the low half of a word, odd ones in the high half
			index := raw
			if s > 0 {
				index = q[s%2]
				VPSRLD(U8(uint8(4*s)), raw, index)
			}
			VPERMPS(z[31], index, q[2+s%2])
			sums, disp := w.even, 0
			if s >= 4 {
				sums, disp = w.odd, 64
			}
			w.times(q[2+s%2], disp+4*(4*i+s%4), sums)
		}
	}
}

func (w *lanes) block8() {
	for i := range 4 {
		raw := z[14:16]
		for r := range 2 {
			VMOVDQU32(Mem{Base: w.qs, Disp: 64 * (2*i + r)}, raw[r])
			PREFETCHT0(Mem{Base: w.qs, Disp: 64*(2*i+r) + 2*ahead})
		}
		for s, place := range [4][2]int{{0, 0}, {1, 0}, {0, 1}, {1, 1}} { // the register, the first byte
			for odd := range 2 {
				q, shift := z[16+(2*s+odd)%4], 8*(place[1]+2*odd)
				if shift > 0 {
					VPSRLD(U8(uint8(shift)), raw[place[0]], q)
				} else {
					VMOVDQA32(raw[place[0]], q)
				}
				VPTERNLOGD(U8(0xEA), z[30], z[27], q) // (q & z27) | z30
				VSUBPS(z[31], q, q)
				w.times(q, 64*odd+4*(4*i+s), [][]reg.VecPhysical{w.even, w.odd}[odd])
			}
		}
	}
}

// floatTables are the tables written, by their zero.
var floatTables = map[int]Mem{}

// floatTable holds 0-zero … 15-zero.
func floatTable(zero int) Mem {
	if m, ok := floatTables[zero]; ok {
		return m
	}
	m := GLOBL(fmt.Sprintf("floats%d", zero), RODATA|NOPTR)
	floatTables[zero] = m
	for i := range 16 {
		DATA(4*i, F32(float32(i-zero)))
	}
	return m
}

// tileFloats writes tileFloatsAVX512.
func tileFloats() {
	TEXT("tileFloatsAVX512", NOSPLIT, "func(n int, words *uint32, dst *float32)")
	Pragma("noescape")
	Doc("tileFloatsAVX512 turns n times 16 pairs into the 16 floats at even places and the 16 at odd ones.")
	n, words, dst := param("n"), param("words"), param("dst")
	fill(0xffff0000, z[2])
	Label("loop")
	VMOVDQU32(Mem{Base: words}, z[0])
	VPANDD(z[0], z[2], z[1])
	VPSLLD(U8(16), z[0], z[0])
	VMOVUPS(z[0], Mem{Base: dst})
	VMOVUPS(z[1], Mem{Base: dst, Disp: 64})
	ADDQ(U8(64), words)
	ADDQ(U32(128), dst)
	DECQ(n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// dense writes dense<bits>: the numbers that weights stand for, as pairs.
func dense(bits int) {
	TEXT(fmt.Sprintf("dense%d", bits), NOSPLIT, "func(nblk int, qs *byte, ds, ms *uint16, dst *uint32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("dense%d is denseGeneric for %d bits.", bits, bits))
	n, qs, ds, ms, dst := param("nblk"), param("qs"), param("ds"), param("ms"), param("dst")
	VMOVDQU32(wovenHalves(), z[29])
	if bits == 8 {
		fill(0x4B000000, z[30])
		fill(0xff, z[27])
		fill(0x4B000000, z[31])
	} else {
		VMOVUPS(floatTable(0), z[31])
	}
	fill(map[int]uint32{4: 0xc1000000, 8: 0xc3000000}[bits], z[26]) // -8, -128
	Label("block")
	VCVTPH2PS(Mem{Base: ds}, z[24])
	VMULPS(z[24], z[26], z[25])
	TESTQ(ms, ms)
	JZ(LabelRef("ready"))
	VCVTPH2PS(Mem{Base: ms}, z[25])
	ADDQ(U8(32), ms)
	Label("ready")
	write := func(even, odd reg.VecPhysical, word int) {
		for _, q := range []reg.VecPhysical{even, odd} {
			VFMADD213PS(z[25], z[24], q) // q·d + m
		}
		VCVTNE2PS2BF16(even, odd, even)
		VPERMW(even, z[29], even)
		VMOVUPS(even, Mem{Base: dst, Disp: 128 * word})
	}
	for i := range 4 {
		if bits == 4 {
			raw := z[i%2]
			VMOVDQU32(Mem{Base: qs, Disp: 64 * i}, raw)
			for s, shift := range [4]uint8{0, 16, 4, 20} {
				even, odd := z[4+2*s], z[5+2*s]
				VPSRLD(U8(shift), raw, even)
				VPSRLD(U8(shift+8), raw, odd)
				VPERMPS(z[31], even, even)
				VPERMPS(z[31], odd, odd)
				write(even, odd, 4*i+s)
			}
			continue
		}
		for r := range 2 {
			VMOVDQU32(Mem{Base: qs, Disp: 64 * (2*i + r)}, z[r])
		}
		for s := range 4 { // two pairs of each register
			pair := []reg.VecPhysical{z[4+2*s], z[5+2*s]}
			for odd, q := range pair {
				VPSRLD(U8(uint8(8*(s%2*2+odd))), z[s/2], q)
				VPTERNLOGD(U8(0xEA), z[30], z[27], q) // (q & z27) | z30
				VSUBPS(z[31], q, q)
			}
			write(pair[0], pair[1], 4*i+s)
		}
	}
	ADDQ(U32(uint32(64*bits)), qs)
	ADDQ(U8(32), ds)
	ADDQ(U32(16*128), dst)
	DECQ(n)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

var wovenHalf Mem

// wovenHalves is the order that takes numbers of the two halves of a register in
// turn.
func wovenHalves() Mem {
	if wovenHalf.Base == nil {
		wovenHalf = interleave("halves")
	}
	return wovenHalf
}
