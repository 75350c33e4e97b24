package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// This file writes the loops of attention on AMX tiles. Everything lies in whole
// tiles of 16 rows of 64 bytes, which follow each other: a tile load reads 1 KiB in
// a row. Scores lie with keys downwards and queries across, so that maxima, sums
// and masks of 16 queries are vectors.

// tiledAttention writes the group.
func tiledAttention() {
	for _, turned := range []bool{false, true} {
		layRows(turned)
		layPairs(turned)
	}
	roundedDots()
	keepWords()
	attendTiles(2)
	attendTiles(1)
	attendBackTiles()
	attendQueries()
}

// roundedDots writes the products of rows, the first rounded.
func roundedDots() {
	p := text("roundedDotsAVX512", "func(rows, cols int, x, y *float32, ld int, dst *float32)", "is roundedDotsGeneric.", "rows", "cols", "x", "y", "ld", "dst")
	rows, cols, x, y, ld, dst := p[0], p[1], p[2], p[3], p[4], p[5]
	SHLQ(U8(2), ld)
	SHLQ(U8(2), cols)
	i := GP64()
	Label("row")
	sum := zero()
	XORQ(i, i)
	Label("vector")
	VMOVUPS(Mem{Base: x, Index: i, Scale: 1}, reg.Z0)
	VCVTNE2PS2BF16(reg.Z0, reg.Z0, reg.Z0)
	VPMOVZXWD(reg.Y0, reg.Z0)
	VPSLLD(U8(16), reg.Z0, reg.Z0)
	VFMADD231PS(Mem{Base: y, Index: i, Scale: 1}, reg.Z0, sum)
	ADDQ(U8(64), i)
	CMPQ(i, cols)
	JNE(LabelRef("vector"))
	reduce32(sum, func(a, b, d Op) { VADDPS(a, b, d) })
	VMOVSS(sum.AsX(), at(dst))
	ADDQ(ld, x)
	ADDQ(ld, y)
	ADDQ(U8(4), dst)
	DECQ(rows)
	JNZ(LabelRef("row"))
	done()
}

// lay writes a function that makes tiles of 32 rows of numbers; vector loads
// number i of the 16 vectors of pairs of a tile.
func lay(name, doc string, turned bool, body func(turn func(dst Mem))) {
	if turned {
		name += "Turned"
		doc += ", every tile transposed"
	}
	TEXT(name+"AVX512", NOSPLIT, "func(cols int, x *float32, ldx int, dst *uint32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%sAVX512 is %sGeneric: %s.", name, name, doc))
	body(func(dst Mem) {
		v := z[:16]
		if turned {
			v = turn16()
		}
		for i, r := range v {
			VMOVUPS(r, dst.Offset(64*i))
		}
	})
	VZEROUPPER()
	RET()
}

// layRows makes pairs along the rows: 16 rows by 32 columns are a tile.
func layRows(turned bool) {
	lay("layRows", "tiles of pairs along the rows", turned, func(turn func(dst Mem)) {
		cols, x, ldx, dst := param("cols"), param("x"), param("ldx"), param("dst")
		SHLQ(U8(2), ldx)
		row := GP64()
		ones := GP32()
		MOVL(U32(0xffff), ones)
		KMOVW(ones, reg.K1)
		Label("loop")
		CMPQ(cols, U8(32))
		JGE(LabelRef("whole"))
		KXORW(reg.K1, reg.K1, reg.K1) // the last 16 columns are not there
		Label("whole")
		MOVQ(x, row)
		for half := range 2 {
			for i := range 16 {
				VMOVUPS(Mem{Base: row}, z[i])
				VMOVUPS_Z(Mem{Base: row, Disp: 64}, reg.K1, z[16+i%8])
				VCVTNE2PS2BF16(z[i], z[16+i%8], z[i])
				ADDQ(ldx, row)
			}
			turn(Mem{Base: dst, Disp: 1024 * half})
		}
		ADDQ(U32(128), x)
		ADDQ(U32(2048), dst)
		SUBQ(U8(32), cols)
		JG(LabelRef("loop"))
	})
}

// layPairs makes pairs of rows: 32 rows by 16 columns are a tile.
func layPairs(turned bool) {
	lay("layPairs", "tiles of pairs of rows", turned, func(turn func(dst Mem)) {
		cols, x, ldx, dst := param("cols"), param("x"), param("ldx"), param("dst")
		SHLQ(U8(2), ldx)
		row, order := GP64(), weaveTable()
		Label("loop")
		MOVQ(x, row)
		VMOVDQU32(order, z[31])
		for i := range 16 {
			VMOVUPS(Mem{Base: row}, z[i])
			VMOVUPS(Mem{Base: row, Index: ldx, Scale: 1}, z[16+i%8])
			VCVTNE2PS2BF16(z[i], z[16+i%8], z[i])
			VPERMW(z[i], z[31], z[i])
			if i < 15 {
				ADDQ(ldx, row)
				ADDQ(ldx, row)
			}
		}
		turn(Mem{Base: dst})
		ADDQ(U8(64), x)
		ADDQ(U32(1024), dst)
		SUBQ(U8(16), cols)
		JG(LabelRef("loop"))
	})
}

var weave Mem

// weaveTable is the order 0, 16, 1, 17, … 15, 31.
func weaveTable() Mem {
	if weave.Base == nil {
		weave = GLOBL("weave", RODATA|NOPTR)
		for i := range 16 {
			DATA(4*i, U32(uint32(i)|uint32(16+i)<<16))
		}
	}
	return weave
}

// The registers of the loops below. Those from z17 on stay.
var (
	tileStep = reg.R8 // 64, from row to row of a tile
	tileA    = reg.RAX
	tileB    = reg.RBX
	tileN    = reg.RCX
	tileWork = reg.R9

	zScale = z[31]    // scale of the scores by log₂ e
	zPower = z[25:31] // 2^x by powers of x, from the sixth down
	zWeave = z[24]
)

// powers are the coefficients of 2^x on [0, 1], from the highest down: fitted for
// the least relative error, 8.3e-8, with 1 at 0.
var powers = []float64{0.001867130561, 0.009017029017, 0.05579991433, 0.2401644497, 0.6931513119, 1}

// attendStart loads what stays; scale is a parameter.
func attendStart() {
	into("config", tileN)
	LDTILECFG(tileN)
	MOVQ(U32(64), tileStep)
	into("work", tileWork)
	for i, c := range powers {
		VBROADCASTSS(constant32(math.Float32bits(float32(c))), zPower[i])
	}
	VBROADCASTSS(slot("scale").(Mem), zScale)
	VMOVDQU32(weaveTable(), zWeave)
}

// power sets every x to 2^x; each needs two registers beside. What is -Inf
// becomes 0 and NaN stays.
func power(x, r, p []reg.VecPhysical) {
	for i := range x {
		VREDUCEPS(U8(9), x[i], r[i]) // x less the integer below it
		VMOVAPS(zPower[0], p[i])
	}
	for _, c := range zPower[1:] {
		for i := range x {
			VFMADD213PS(c, r[i], p[i])
		}
	}
	for i := range x {
		VSCALEFPS(x[i], p[i], x[i]) // by 2 to the integer below x
	}
}

// square adds the products of two tiles at a, downwards, and n at b, across, to T0 to
// T3.
func square(a, b reg.Physical, n int) {
	TILELOADD(tileMem{a, tileStep, 0}, 4)
	TILELOADD(tileMem{b, tileStep, 0}, 6)
	TDPBF16PS(0, 4, 6)
	if n > 1 {
		TILELOADD(tileMem{b, tileStep, 1024}, 7)
		TDPBF16PS(1, 4, 7)
	}
	TILELOADD(tileMem{a, tileStep, 1024}, 5)
	TDPBF16PS(2, 5, 6)
	if n > 1 {
		TDPBF16PS(3, 5, 7)
	}
}

// eachTile calls f for the four tiles of a square, or the two of half of one.
func eachTile(n int, f func(t int)) {
	for t := range 4 {
		if t%2 < n {
			f(t)
		}
	}
}

// scores multiplies the tiles from a on by those from b on, d steps, and stores the
// four results, which follow each other, at dst+disp. a and b move on.
func scores(name string, a, b reg.GPPhysical, dst reg.Physical, disp, n int) {
	eachTile(n, func(t int) { TILEZERO(byte(t)) })
	into("d", tileN)
	Label(name)
	square(a, b, n)
	ADDQ(U32(2048), a)
	ADDQ(U32(2048), b)
	DECQ(tileN)
	JNZ(LabelRef(name))
	eachTile(n, func(t int) { TILESTORED(byte(t), tileMem{dst, tileStep, disp + 1024*t}) })
}

// attendTiles writes the forward: 16n queries over all their keys.
func attendTiles(n int) {
	name := fmt.Sprintf("attendTiles%d", 16*n)
	TEXT(name, NOSPLIT, "func(strips, free0, free1, d int, q *uint32, k, v **uint32, from, to *int32, key int, scale float32, work, out, lse *float32, config *byte)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is attendGeneric for %d queries.", name, 16*n))
	out, ldo, strip, count, c := reg.R12, reg.R13, reg.R14, reg.R10, reg.R11
	s, x, k := reg.RSI, tileA, reg.RDX
	least, sum, top, base := z[23], z[21:][:n], z[19:][:n], z[17:][:n]
	attendStart()
	fill2(0xff800000, least) // -Inf
	for i := range n {
		VPXORD(sum[i], sum[i], sum[i])
		VMOVAPS(least, top[i])
	}
	into("out", out)
	MOVQ(U32(128), ldo)
	XORQ(strip, strip)
	Label("block")
	into("strips", count)
	SUBQ(strip, count)
	CMPQ(count, U8(attendStrips))
	JLE(LabelRef("begin"))
	MOVQ(U32(attendStrips), count)
	Label("begin")
	MOVQ(tileWork, s)
	MOVQ(count, c)
	Label("scores")
	into("q", tileB)
	into("k", k)
	MOVQ(Mem{Base: k}, tileA)
	ADDQ(U8(8), slot("k"))
	scores("step", tileA, tileB, s, 0, n)
	ADDQ(U32(4096), s)
	DECQ(c)
	JNZ(LabelRef("scores"))

	// The greatest score of each query.
	for i := range 4 * n {
		VMOVAPS(least, z[i])
	}
	MOVQ(tileWork, x)
	MOVQ(count, c)
	Label("most")
	CMPQ(strip, slot("free0"))
	JLT(LabelRef("masked"))
	CMPQ(strip, slot("free1"))
	JGE(LabelRef("masked"))
	eachTile(n, func(t int) {
		for r := range 16 {
			to := z[t%2*4+r%4]
			VMAXPS(Mem{Base: x, Disp: 1024*t + 64*r}, to, to)
		}
	})
	ADDQ(U32(4096), x)
	JMP(LabelRef("mosttest"))
	Label("masked")
	seesOf(strip)
	for half := range 2 {
		row := fmt.Sprint("row", half)
		MOVQ(U32(16), tileN)
		Label(row)
		for t := range n {
			seesRow(t, reg.K1)
			at := Mem{Base: x, Disp: 1024 * t}
			VMOVAPS(least, z[8])
			VMOVUPS(at, reg.K1, z[8])
			VMOVUPS(z[8], at)
			VMAXPS(z[8], z[4*t], z[4*t])
		}
		VPADDD(z[11], z[16], z[16])
		ADDQ(U8(64), x)
		DECQ(tileN)
		JNZ(LabelRef(row))
		ADDQ(U32(1024), x)
	}
	Label("mosttest")
	INCQ(strip)
	DECQ(c)
	JNZ(LabelRef("most"))
	for i := range n {
		a := z[4*i:]
		VMAXPS(a[1], a[0], a[0])
		VMAXPS(a[3], a[2], a[2])
		VMAXPS(a[2], a[0], a[0])
		VMULPS(zScale, a[0], a[0])
	}
	shrink := []reg.VecPhysical{z[1], z[5]}[:n]
	VPXORD(z[8], z[8], z[8])
	for i := range n {
		most := z[4*i]
		VMAXPS(top[i], most, most)
		VMOVAPS(most, base[i])
		// Who saw nothing yet has -Inf: -Inf - 0 keeps the weights at 0.
		VCMPPS(U8(0), least, most, reg.K1)
		VMOVAPS(z[8], reg.K1, base[i])
		VSUBPS(base[i], top[i], shrink[i])
		VMOVAPS(most, top[i])
	}
	power(shrink, []reg.VecPhysical{z[2], z[6]}, []reg.VecPhysical{z[3], z[7]})
	for i := range n {
		VMULPS(shrink[i], sum[i], sum[i])
	}

	// What has been added up shrinks, where a greater score has come.
	CMPQ(strip, count)
	JEQ(LabelRef("weights"))
	VCMPPS(U8(4), zPower[5], shrink[0], reg.K1)
	VCMPPS(U8(4), zPower[5], shrink[n-1], reg.K2)
	KORTESTW(reg.K1, reg.K2)
	JZ(LabelRef("weights"))
	stretch("shrink", out, shrink)

	Label("weights")
	MOVQ(tileWork, x)
	LEAQ(Mem{Base: tileWork, Disp: 4096 * attendStrips}, tileB)
	MOVQ(count, c)
	Label("strip")
	MOVQ(U32(8), tileN)
	Label("pair")
	for half := range 2 {
		w := z[:2*n] // queries by rows: 0 0, 0 1, 1 0, 1 1
		for i := range w {
			VMULPS(Mem{Base: x, Disp: 1024*(2*half+i/2) + 64*(i%2)}, zScale, w[i])
			VSUBPS(base[i/2], w[i], w[i])
		}
		power(w, z[4:8], z[8:12])
		for i := range w {
			VADDPS(w[i], sum[i/2], sum[i/2])
		}
		for i := range n {
			VCVTNE2PS2BF16(w[2*i], w[2*i+1], w[2*i])
			VPERMW(w[2*i], zWeave, w[2*i])
			VMOVUPS(w[2*i], Mem{Base: tileB, Disp: 1024*i + 512*half})
		}
	}
	ADDQ(U32(128), x)
	ADDQ(U8(64), tileB)
	DECQ(tileN)
	JNZ(LabelRef("pair"))
	ADDQ(U32(3072), x)
	ADDQ(U32(1536), tileB)
	DECQ(c)
	JNZ(LabelRef("strip"))

	// The sum of the values by their weights; R15 is how far into a strip.
	v := reg.RDI
	sumValues("values", n, count, ldo, out, reg.RSI, c, reg.R15, func() {
		CMPQ(strip, count)
		JNE(LabelRef("valuesadd"))
	}, func() {
		into("v", v)
		LEAQ(Mem{Base: tileWork, Disp: 4096 * attendStrips}, tileB)
	}, func() {
		MOVQ(Mem{Base: v}, tileA)
		ADDQ(reg.R15, tileA)
		ADDQ(U8(8), v)
	})
	MOVQ(v, slot("v"))
	CMPQ(strip, slot("strips"))
	JNE(LabelRef("block"))
	TILERELEASE()
	into("lse", x)
	for i := range n {
		VDIVPS(sum[i], zPower[5], base[i])
		log2(sum[i], z[:4])
		VADDPS(top[i], sum[i], sum[i])
		VMOVUPS(sum[i], Mem{Base: x, Disp: 64 * i})
	}
	stretch("mean", out, base)
	VZEROUPPER()
	RET()
}

// stretch multiplies the columns of out (32d, 32) by vectors; z8 is used.
func stretch(name string, out reg.GPPhysical, by []reg.VecPhysical) {
	MOVQ(out, tileA)
	into("d", tileN)
	SHLQ(U8(5), tileN)
	Label(name)
	for i := range by {
		VMULPS(Mem{Base: tileA, Disp: 64 * i}, by[i], z[8])
		VMOVUPS(z[8], Mem{Base: tileA, Disp: 64 * i})
	}
	ADDQ(U32(128), tileA)
	DECQ(tileN)
	JNZ(LabelRef(name))
}

// log2 sets x to its logarithm. x = 2ⁿ·m with m from 3/4 to 3/2, and with
// t = (m-1)/(m+1), ln m = 2·(t + t³/3 + … + t⁹/9), off by less than 1e-8.
func log2(x reg.VecPhysical, r []reg.VecPhysical) {
	m, n, t, p := r[0], r[1], r[2], r[3]
	VGETMANTPS(U8(3), x, m)
	VDIVPS(m, x, n)
	VGETEXPPS(n, n)
	VSUBPS(zPower[5], m, t)
	VADDPS(zPower[5], m, m)
	VDIVPS(m, t, t)
	VMULPS(t, t, m)
	scaled := func(k float64) Mem { return constant32(math.Float32bits(float32(2 / math.Ln2 / k))) }
	VBROADCASTSS(scaled(9), p)
	for _, k := range []float64{7, 5, 3, 1} {
		VBROADCASTSS(scaled(k), x)
		VFMADD213PS(x, m, p)
	}
	VFMADD213PS(n, t, p)
	VMOVAPS(p, x)
}

// attendStrips is how many strips of keys a block of attendTiles has.
const attendStrips = 4

// fill2 broadcasts a 32-bit constant through a register that is free.
func fill2(value uint32, to reg.VecPhysical) {
	MOVL(U32(value), reg.EAX)
	VPBROADCASTD(reg.EAX, to)
}

// seesOf loads what 32 queries see, and the number of the first key of a strip.
func seesOf(strip reg.GPPhysical) {
	into("from", tileN)
	VMOVDQU32(Mem{Base: tileN}, z[12])
	VMOVDQU32(Mem{Base: tileN, Disp: 64}, z[13])
	into("to", tileN)
	VMOVDQU32(Mem{Base: tileN}, z[14])
	VMOVDQU32(Mem{Base: tileN, Disp: 64}, z[15])
	MOVL(U32(1), reg.ECX)
	VPBROADCASTD(reg.ECX, z[11])
	MOVQ(strip, tileN)
	SHLQ(U8(5), tileN)
	ADDQ(slot("key"), tileN)
	VPBROADCASTD(reg.ECX, z[16])
}

// seesRow sets a mask of the queries of half t that see the key in z16.
func seesRow(t int, k reg.Physical) {
	VPCMPD(U8(5), z[12+t], z[16], k)
	VPCMPD(U8(1), z[14+t], z[16], k, k)
}

// sumValues writes out (32d, 32), rows ldo bytes apart: the sum over count strips of
// two tiles each, which next finds at tileA, far bytes from the first two, times n
// tiles of weights, 2048 bytes apart from where begin sets tileB. add jumps to
// name+"add" when out has a content.
func sumValues(name string, n int, count, ldo, out, at, left, far reg.GPPhysical, add, begin, next func()) {
	columns := func(f func(t byte, m tileMem)) {
		eachTile(n, func(t int) { f(byte(t), tileMem{at, ldo, 2048*(t/2) + 64*(t%2)}) })
	}
	into("d", tileN)
	MOVQ(out, at)
	XORQ(far, far)
	Label(name)
	begin()
	add()
	columns(func(t byte, _ tileMem) { TILEZERO(t) })
	JMP(LabelRef(name + "begin"))
	Label(name + "add")
	columns(func(t byte, m tileMem) { TILELOADD(m, t) })
	Label(name + "begin")
	MOVQ(count, left)
	Label(name + "loop")
	next()
	square(tileA, tileB, n)
	ADDQ(U32(2048), tileB)
	DECQ(left)
	JNZ(LabelRef(name + "loop"))
	columns(func(t byte, m tileMem) { TILESTORED(t, m) })
	ADDQ(U32(2048), far)
	ADDQ(U32(4096), at)
	DECQ(tileN)
	JNZ(LabelRef(name))
}

// attendQueries writes the gradient of 32 queries.
func attendQueries() {
	TEXT("attendQueries", NOSPLIT, "func(strips, d int, k, ds *uint32, out *float32, add int, config *byte)")
	Pragma("noescape")
	Doc("attendQueries is attendQueriesGeneric.")
	k, out, ldo, count, size, far := reg.RDI, reg.R12, reg.R13, reg.R10, reg.RDX, reg.R15
	into("config", tileN)
	LDTILECFG(tileN)
	MOVQ(U32(64), tileStep)
	MOVQ(U32(128), ldo)
	into("out", out)
	into("strips", count)
	into("d", size)
	SHLQ(U8(11), size)
	sumValues("values", 2, count, ldo, out, reg.RSI, reg.R11, far, func() {
		CMPQ(slot("add"), U8(0))
		JNE(LabelRef("valuesadd"))
	}, func() {
		into("k", k)
		ADDQ(far, k)
		into("ds", tileB)
	}, func() {
		MOVQ(k, tileA)
		ADDQ(size, k)
	})
	TILERELEASE()
	RET()
}

// keepWords writes what drops keys from a tile of values.
func keepWords() {
	p := text("keepWordsAVX512", "func(rows int, src, mask, dst *uint32)", "is keepWordsGeneric.", "rows", "src", "mask", "dst")
	VMOVDQU32(at(p[2]), reg.Z0)
	Label("row")
	VPANDD(at(p[1]), reg.Z0, reg.Z1)
	VMOVDQU32(reg.Z1, at(p[3]))
	ADDQ(U8(64), p[1])
	ADDQ(U8(64), p[3])
	DECQ(p[0])
	JNZ(LabelRef("row"))
	done()
}

// attendBackTiles writes the backward: 32 keys and all queries of a head that see
// them.
func attendBackTiles() {
	TEXT("attendBackTiles", NOSPLIT, "func(strips, free0, free1, d int, k, v, q, dout, qp, dp *uint32, lse, delta *float32, from, to *int32, key int, scale float32, work *float32, ds *uint32, step int, dk, dv *float32, add int, config *byte)")
	Pragma("noescape")
	Doc("attendBackTiles is attendBackGeneric.")
	q, dout, strip, weights, pairs, p := reg.RDX, reg.RSI, reg.R14, reg.R10, reg.R12, reg.R11
	attendStart()
	into("q", q)
	into("dout", dout)
	into("ds", pairs)
	SHLQ(U8(2), slot("step"))
	LEAQ(Mem{Base: tileWork, Disp: 8192}, weights)
	MOVQ(slot("strips"), reg.R15) // gradients lie behind the weights
	SHLQ(U8(11), reg.R15)
	XORQ(strip, strip)
	Label("strip")
	into("k", tileA)
	scores("s", tileA, q, tileWork, 0, 2)
	into("v", tileA)
	scores("dp", tileA, dout, tileWork, 4096, 2)
	at := tileA
	MOVQ(strip, tileN)
	SHLQ(U8(7), tileN)
	for i, name := range []string{"lse", "delta"} {
		into(name, at)
		for t := range 2 {
			VMOVUPS(Mem{Base: at, Index: tileN, Scale: 1, Disp: 64 * t}, z[19+2*i+t])
		}
	}
	MOVQ(tileWork, at)
	MOVQ(weights, tileB)
	MOVQ(pairs, p)
	CMPQ(strip, slot("free0"))
	JLT(LabelRef("masked"))
	CMPQ(strip, slot("free1"))
	JGE(LabelRef("masked"))
	backStrip("free", false, at, p)
	JMP(LabelRef("next"))
	Label("masked")
	MOVQ(strip, tileN)
	SHLQ(U8(7), tileN)
	for i, name := range []string{"from", "to"} {
		into(name, reg.RDI)
		for t := range 2 {
			VMOVDQU32(Mem{Base: reg.RDI, Index: tileN, Scale: 1, Disp: 64 * t}, z[12+2*i+t])
		}
	}
	MOVL(U32(1), reg.ECX)
	VPBROADCASTD(reg.ECX, z[18])
	into("key", tileN)
	VPBROADCASTD(reg.ECX, z[16])
	backStrip("part", true, at, p)
	Label("next")
	ADDQ(U32(2048), weights)
	ADDQ(slot("step"), pairs)
	INCQ(strip)
	CMPQ(strip, slot("strips"))
	JNE(LabelRef("strip"))

	ldc := reg.R13
	into("d", ldc)
	SHLQ(U8(7), ldc) // bytes of a row of dk
	LEAQ(Mem{Base: tileWork, Disp: 8192}, weights)
	sumRows("dv", weights, ldc)
	ADDQ(reg.R15, weights)
	sumRows("dk", weights, ldc)
	TILERELEASE()
	VZEROUPPER()
	RET()
}

// backStrip writes the weights of a strip, their gradients, and those as pairs of
// keys to p; tileB is where the weights go, R15 the way from them to the gradients.
func backStrip(name string, masked bool, s, p reg.GPPhysical) {
	lse, delta := z[19:21], z[21:23]
	w, g := z[:4], z[4:8] // queries by rows: 0 0, 0 1, 1 0, 1 1
	for half := range 2 {
		loop := fmt.Sprint(name, half)
		MOVQ(U32(8), tileN)
		Label(loop)
		for i := range w {
			VMOVUPS(Mem{Base: s, Disp: 1024*(i/2) + 64*(i%2)}, w[i])
			VFMSUB132PS(zScale, lse[i/2], w[i])
		}
		power(w, g, z[8:12])
		for i := range g {
			VMOVUPS(Mem{Base: s, Disp: 4096 + 1024*(i/2) + 64*(i%2)}, g[i])
			VSUBPS(delta[i/2], g[i], g[i])
		}
		if masked {
			for row := range 2 {
				for t := range 2 {
					seesRow(t, reg.K1)
					VMOVAPS_Z(w[2*t+row], reg.K1, w[2*t+row])
					VMULPS_Z(w[2*t+row], g[2*t+row], reg.K1, g[2*t+row])
				}
				VPADDD(z[18], z[16], z[16])
			}
		} else {
			for i := range g {
				VMULPS(w[i], g[i], g[i])
			}
		}
		for row := range 2 {
			VCVTNE2PS2BF16(w[row], w[2+row], w[row])
			VMOVUPS(w[row], Mem{Base: tileB, Disp: 64 * row})
			VCVTNE2PS2BF16(g[row], g[2+row], z[8+row])
			VMOVUPS(z[8+row], Mem{Base: tileB, Index: reg.R15, Scale: 1, Disp: 64 * row})
		}
		for t := range 2 {
			VCVTNE2PS2BF16(g[2*t], g[2*t+1], g[2*t])
			VPERMW(g[2*t], zWeave, g[2*t])
			VMOVUPS(g[2*t], Mem{Base: p, Disp: 1024 * t})
		}
		ADDQ(U32(128), s)
		ADDQ(U32(128), tileB)
		ADDQ(U8(64), p)
		DECQ(tileN)
		JNZ(LabelRef(loop))
		ADDQ(U32(1024), s)
	}
}

// sumRows writes the gradient called name (32, 32d): the sum over all strips of
// the tiles of weights, downwards, times the pairs of queries. Rows are ldc bytes
// apart.
func sumRows(name string, weights, ldc reg.GPPhysical) {
	at, low, n, size, right := reg.RDX, reg.RSI, reg.RDI, reg.R12, reg.R11
	into(name, at)
	into(map[string]string{"dk": "qp", "dv": "dp"}[name], right)
	into("d", tileN)
	MOVQ(tileN, size)
	SHLQ(U8(11), size)
	MOVQ(ldc, low)
	SHLQ(U8(4), low)
	ADDQ(at, low)
	columns := func(f func(t byte, m tileMem)) {
		for t := range 4 {
			f(byte(t), tileMem{[]reg.GPPhysical{at, low}[t/2], ldc, 64 * (t % 2)})
		}
	}
	Label(name)
	MOVQ(weights, tileA)
	MOVQ(right, tileB)
	CMPQ(slot("add"), U8(0))
	JNE(LabelRef(name + "add"))
	columns(func(t byte, _ tileMem) { TILEZERO(t) })
	JMP(LabelRef(name + "begin"))
	Label(name + "add")
	columns(func(t byte, m tileMem) { TILELOADD(m, t) })
	Label(name + "begin")
	into("strips", n)
	Label(name + "loop")
	square(tileA, tileB, 2)
	ADDQ(U32(2048), tileA)
	ADDQ(size, tileB)
	DECQ(n)
	JNZ(LabelRef(name + "loop"))
	columns(func(t byte, m tileMem) { TILESTORED(t, m) })
	ADDQ(U32(2048), right)
	ADDQ(U8(128), at)
	ADDQ(U8(128), low)
	DECQ(tileN)
	JNZ(LabelRef(name))
}
