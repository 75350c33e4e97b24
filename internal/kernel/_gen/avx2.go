package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// This file writes the level for machines without AVX-512.

// avx2 writes the products with AVX2, FMA and F16C.
func avx2() {
	for h := 4; h > 0; h-- {
		for _, bits := range []int{4, 8} {
			intTileAVX2(h, bits, false)
			intTileAVX2(h, bits, true)
		}
	}
	quantiseAVX2()
	for _, h := range []int{6, 4, 3, 2, 1} {
		floatTileAVX2(h)
	}
	spreadAVX2(4)
	spreadAVX2(8)
	transposeAVX2()
}

// constant is a 32-byte constant of one 32-bit word.
func constant(name string, word uint32) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(word))
	}
	return m
}

var wordsKnown = map[string]Mem{}

// words returns a 32-byte constant, defined once.
func words(name string, word uint32) Mem {
	if _, ok := wordsKnown[name]; !ok {
		wordsKnown[name] = constant(name, word)
	}
	return wordsKnown[name]
}

// intTileAVX2 writes zeroTile and minTile for 8 columns at a time.
//
// VPMADDUBSW adds two products in 16 bits. With weights of 4 bits the eight
// groups of a block fit: 8·2·15·127 < 2¹⁵. Weights of 8 bits are two nibbles,
// summed apart, of which the high one counts sixteen times. y0-3 are the floats,
// y4-7 the sums of low nibbles, y8-11 those of high ones.
func intTileAVX2(h, bits int, minima bool) {
	kind, scales, extra := "zeroTile", "ds *uint16", "init *int32"
	arguments := "a *int8, s *float32, "
	if minima {
		kind, scales, extra, arguments = "minTile", "ds, ms *uint16", "sum *float32", "a *int8, s, "
	}
	name := fmt.Sprintf("%s%dx%dAVX2", kind, bits, h)
	TEXT(name, NOSPLIT, "func(np, nblk int, qs *byte, "+scales+", "+arguments+extra+", c *float32, ldc int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is the %s of height %d on %d-bit weights: see %sGeneric.", name, kind, h, bits, kind))
	nblk, qs, ds, c, ldc := param("nblk"), param("qs"), param("ds"), param("c"), param("ldc")
	t := &intsAVX2{h: h, bits: bits, minima: minima, qs: qs, ds: ds, a: GP64(), s: GP64(), e: GP64()}
	if minima {
		t.ms = param("ms")
	}
	SHLQ(U8(2), ldc)
	half, n := GP64(), GP64()
	Label("panel")
	MOVQ(U32(2), half)
	Label("half")
	Load(Param("a"), t.a)
	Load(Param("s"), t.s)
	if minima {
		Load(Param("sum"), t.e)
	} else {
		Load(Param("init"), t.e)
	}
	MOVQ(nblk, n)
	for m := range h {
		VXORPS(y[m], y[m], y[m])
	}
	Label("block")
	t.dots()
	t.scale()
	ADDQ(U32(uint32(64*bits)), qs)
	ADDQ(U32(32), ds)
	if minima {
		ADDQ(U32(32), t.ms)
	}
	ADDQ(U32(uint32(32*h)), t.a)
	ADDQ(U32(uint32(4*h)), t.s)
	ADDQ(U32(uint32(4*h)), t.e)
	DECQ(n)
	JNZ(LabelRef("block"))
	row := GP64()
	MOVQ(c, row)
	for m := range h {
		VMOVUPS(y[m], Mem{Base: row})
		if m+1 < h {
			ADDQ(ldc, row)
		}
	}
	ADDQ(U32(32), c)
	DECQ(half)
	JZ(LabelRef("next"))
	// Back to the beginning of the panel, eight columns further right.
	IMUL3Q(U32(uint32(64*bits)), nblk, n)
	SUBQ(n, qs)
	ADDQ(U32(32), qs)
	IMUL3Q(U32(32), nblk, n)
	SUBQ(n, ds)
	ADDQ(U32(16), ds)
	if minima {
		SUBQ(n, t.ms)
		ADDQ(U32(16), t.ms)
	}
	JMP(LabelRef("half"))
	Label("next")
	SUBQ(U32(32), qs)
	SUBQ(U32(16), ds)
	if minima {
		SUBQ(U32(16), t.ms)
	}
	DECQ(slot("np"))
	JNZ(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// intsAVX2 is an intTileAVX2 being written.
type intsAVX2 struct {
	h, bits    int
	minima     bool
	qs, ds, ms reg.GPVirtual
	a, s, e    reg.GPVirtual
}

// dots multiplies the 32 numbers of a block.
func (t *intsAVX2) dots() {
	mask := words("nibbles", 0x0f0f0f0f)
	low, high, x, p := y[12], y[13], y[14], y[15]
	first := true
	add := func(product, sum reg.VecPhysical, w reg.VecPhysical) {
		if first {
			VPMADDUBSW(x, w, sum)
			return
		}
		VPMADDUBSW(x, w, product)
		VPADDW(product, sum, sum)
	}
	for j := range t.bits {
		VMOVDQU(Mem{Base: t.qs, Disp: 64 * j}, high)
		VPAND(mask, high, low)
		VPSRLD(U8(4), high, high)
		VPAND(mask, high, high)
		for m := range t.h {
			if t.bits == 8 { // group j, both nibbles
				VPBROADCASTD(Mem{Base: t.a, Disp: 4 * (j*t.h + m)}, x)
				add(p, y[4+m], low)
				add(p, y[8+m], high)
				continue
			}
			VPBROADCASTD(Mem{Base: t.a, Disp: 4 * (2*j*t.h + m)}, x)
			add(p, y[4+m], low)
			VPBROADCASTD(Mem{Base: t.a, Disp: 4 * ((2*j+1)*t.h + m)}, x)
			add(p, y[8+m], high)
		}
		first = false
	}
}

// scale adds the block to the floats.
func (t *intsAVX2) scale() {
	d, least, v := y[12], y[13], y[14]
	VCVTPH2PS(Mem{Base: t.ds}, d)
	if t.minima {
		VCVTPH2PS(Mem{Base: t.ms}, least)
	}
	ones := words("ones16", 0x00010001)
	for m := range t.h {
		sum, high := y[4+m], y[8+m]
		if t.bits == 8 {
			VPMADDWD(ones, sum, sum)
			VPMADDWD(words("sixteens16", 0x00100010), high, high)
			VPADDD(high, sum, sum)
		} else {
			VPADDW(high, sum, sum)
			VPMADDWD(ones, sum, sum)
		}
		if !t.minima {
			VPBROADCASTD(Mem{Base: t.e, Disp: 4 * m}, v)
			VPADDD(v, sum, sum)
		}
		VCVTDQ2PS(sum, sum)
		VBROADCASTSS(Mem{Base: t.s, Disp: 4 * m}, v)
		VMULPS(d, v, v)
		VFMADD231PS(sum, v, y[m])
		if t.minima {
			VBROADCASTSS(Mem{Base: t.e, Disp: 4 * m}, v)
			VFMADD231PS(v, least, y[m])
		}
	}
}

// quantiseAVX2 writes a row of a tile as int8 with a scale per 32.
func quantiseAVX2() {
	TEXT("quantiseAVX2", NOSPLIT, "func(nblk, height int, x *float32, a *int8, s *float32, init4, init8 *int32, sum *float32)")
	Pragma("noescape")
	Doc("quantiseAVX2 is quantiseGeneric.")
	n, step, x, a := param("nblk"), param("height"), param("x"), param("a")
	s, init4, init8, sum := param("s"), param("init4"), param("init8"), param("sum")
	SHLQ(U8(2), step)
	magnitude := words("magnitude", 0x7fffffff)
	Label("block")
	for i := range 4 {
		VMOVUPS(Mem{Base: x, Disp: 32 * i}, y[i])
		VPAND(magnitude, y[i], y[4+i])
	}
	VPMAXUD(y[4], y[5], y[4]) // as integers, so that a NaN is the largest
	VPMAXUD(y[6], y[7], y[6])
	VPMAXUD(y[4], y[6], y[4])
	VEXTRACTI128(U8(1), y[4], reg.X5)
	VPMAXUD(reg.X4, reg.X5, reg.X4)
	for _, order := range []uint8{0x4e, 0xb1} {
		VPSHUFD(U8(order), reg.X4, reg.X5)
		VPMAXUD(reg.X4, reg.X5, reg.X4)
	}
	VMOVDQU(words("leastTop", leastTop).Offset(0), reg.X6)
	VPMAXUD(reg.X4, reg.X6, reg.X7)
	VPCMPEQD(reg.X4, reg.X7, reg.X7) // top >= leastTop
	VMULPS(words("inverse127", 0x3c010204), reg.X4, reg.X5)
	VPAND(reg.X7, reg.X5, reg.X5)
	VMOVUPS(words("f127", 0x42fe0000), reg.X6)
	VDIVPS(reg.X4, reg.X6, reg.X6)
	VPAND(reg.X7, reg.X6, reg.X6)
	VMOVSS(reg.X5, Mem{Base: s})
	VBROADCASTSS(reg.X6, y[6])
	for i := range 4 {
		VMULPS(y[i], y[6], y[i])
		VCVTPS2DQ(y[i], y[i])
	}
	VPACKSSDW(y[1], y[0], y[0])
	VPACKSSDW(y[3], y[2], y[2])
	VPACKSSWB(y[2], y[0], y[0]) // dwords: groups 0 2 4 6 | 1 3 5 7
	VEXTRACTI128(U8(1), y[0], reg.X1)
	at := GP64()
	MOVQ(a, at)
	for g := range 8 {
		VPEXTRD(U8(uint8(g/2)), []reg.VecPhysical{reg.X0, reg.X1}[g%2], Mem{Base: at})
		if g < 7 {
			ADDQ(step, at)
		}
	}
	LEAQ(Mem{Base: a, Index: step, Scale: 8}, a)
	VMOVDQU(words("ones8", 0x01010101), y[2])
	VPMADDUBSW(y[0], y[2], y[0])
	VPMADDWD(words("ones16", 0x00010001), y[0], y[0])
	VEXTRACTI128(U8(1), y[0], reg.X1)
	VPADDD(reg.X0, reg.X1, reg.X0)
	for _, order := range []uint8{0x4e, 0xb1} {
		VPSHUFD(U8(order), reg.X0, reg.X1)
		VPADDD(reg.X0, reg.X1, reg.X0)
	}
	total := GP32()
	VMOVD(reg.X0, total)
	VCVTDQ2PS(reg.X0, reg.X0)
	VMULSS(reg.X0, reg.X5, reg.X0)
	VMOVSS(reg.X0, Mem{Base: sum})
	NEGL(total)
	SHLL(U8(3), total)
	MOVL(total, Mem{Base: init4})
	SHLL(U8(4), total)
	MOVL(total, Mem{Base: init8})
	ADDQ(U32(128), x)
	for _, p := range []reg.GPVirtual{s, init4, init8, sum} {
		ADDQ(step, p)
	}
	DECQ(n)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// floatTileAVX2 writes a floatTile of 16 columns. The accumulators are y0-11,
// the panel y12-13, the row of a y14-15.
func floatTileAVX2(h int) {
	const nv = 2
	name := fmt.Sprintf("floatTile%dx16AVX2", h)
	TEXT(name, NOSPLIT, "func(tiles, k int, a *float32, rs, ks int, b *float32, ldb int, c *float32, ldc int, alpha float32, add int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is the floatTile of height %d on 16 columns: see floatTileGeneric.", name, h))
	rs, ks, ldb, ldc := param("rs"), param("ks"), param("ldb"), param("ldc")
	for _, r := range []reg.GPVirtual{rs, ks, ldb, ldc} {
		SHLQ(U8(2), r)
	}
	c := param("c")
	Label("tile")
	a, b, k := GP64(), GP64(), GP64()
	Load(Param("a"), a)
	x := rowsFrom(a, rs, h)
	fetchRows(c, ldc, h, 1)
	Load(Param("b"), b)
	Load(Param("k"), k)
	for i := range h * nv {
		VXORPS(y[i], y[i], y[i])
	}
	Label("loop")
	VMOVUPS(Mem{Base: b}, y[12])
	VMOVUPS(Mem{Base: b, Disp: 32}, y[13])
	PREFETCHT0(Mem{Base: b, Index: ldb, Scale: 8})
	for m := range h {
		VBROADCASTSS(x.at[m], y[14+m%2])
		for v := range nv {
			VFMADD231PS(y[14+m%2], y[12+v], y[m*nv+v])
		}
	}
	for _, p := range x.bases {
		ADDQ(ks, p)
	}
	ADDQ(ldb, b)
	DECQ(k)
	JNZ(LabelRef("loop"))
	VBROADCASTSS(slot("alpha").(Mem), y[15])
	CMPQ(slot("add"), U8(0))
	JNE(LabelRef("add"))
	each := func(f func(at Mem, sum reg.VecPhysical)) {
		for m := range h {
			for v := range nv {
				f(Mem{Base: c, Disp: 32 * v}, y[m*nv+v])
			}
			ADDQ(ldc, c)
		}
	}
	each(func(at Mem, sum reg.VecPhysical) {
		VMULPS(y[15], sum, sum)
		VMOVUPS(sum, at)
	})
	JMP(LabelRef("stored"))
	Label("add")
	each(func(at Mem, sum reg.VecPhysical) {
		VFMADD213PS(at, y[15], sum)
		VMOVUPS(sum, at)
	})
	Label("stored")
	next := GP64()
	MOVQ(rs, next)
	IMUL3Q(U8(uint8(h)), next, next)
	ADDQ(next, slot("a"))
	DECQ(slot("tiles"))
	JNZ(LabelRef("tile"))
	VZEROUPPER()
	RET()
}

// spreadAVX2 writes spread4AVX2 or spread8AVX2: one block of each of np panels
// as floats, row by row.
func spreadAVX2(bits int) {
	name := fmt.Sprintf("spread%dAVX2", bits)
	TEXT(name, NOSPLIT, "func(np int, qs *byte, qstep int, ds, ms *uint16, dstep int, dst *float32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is spread%dGeneric.", name, bits))
	np, qs, qstep := param("np"), param("qs"), param("qstep")
	ds, ms, dstep, dst := param("ds"), param("ms"), param("dstep"), param("dst")
	SHLQ(U8(1), dstep)
	scales, minima := AllocLocal(64), AllocLocal(64)
	zero := words(fmt.Sprintf("zero%d", bits), map[int]uint32{4: 0xc1000000, 8: 0xc3000000}[bits]) // -8, -128
	Label("panel")
	for i := range 2 {
		VCVTPH2PS(Mem{Base: ds, Disp: 16 * i}, y[i])
		VMULPS(zero, y[i], y[2+i])
	}
	TESTQ(ms, ms)
	JZ(LabelRef("ready"))
	for i := range 2 {
		VCVTPH2PS(Mem{Base: ms, Disp: 16 * i}, y[2+i])
	}
	ADDQ(dstep, ms)
	Label("ready")
	for i := range 2 {
		VMOVUPS(y[i], scales.Offset(32*i))
		VMOVUPS(y[2+i], minima.Offset(32*i))
	}
	for row := range 16 {
		x := [2]reg.VecPhysical{reg.X4, reg.X5} // columns 0-15 and 16-31
		gather := func(to reg.VecPhysical, first int) {
			at := func(i int) Mem { return Mem{Base: qs, Disp: 64*(first+i) + 4*row} }
			VMOVD(at(0), to)
			for i := 1; i < 4; i++ {
				VPINSRD(U8(uint8(i)), at(i), to, to)
			}
		}
		gather(x[0], 0)
		if bits == 8 {
			gather(x[1], 4)
		} else {
			VPSRLD(U8(4), reg.X4, reg.X6)
			VPAND(words("nibbles", 0x0f0f0f0f), reg.X4, reg.X4)
			VPAND(words("nibbles", 0x0f0f0f0f), reg.X6, reg.X6)
			VPUNPCKHDQ(reg.X6, reg.X4, reg.X5)
			VPUNPCKLDQ(reg.X6, reg.X4, reg.X4)
		}
		VBROADCASTSS(scales.Offset(4*row), y[8])
		VBROADCASTSS(minima.Offset(4*row), y[9])
		for i := range 4 {
			from := x[i/2]
			if i%2 == 1 {
				VPSRLDQ(U8(8), from, from)
			}
			v := y[10+i]
			VPMOVZXBD(from, v)
			VCVTDQ2PS(v, v)
			VFMADD213PS(y[9], y[8], v)
			VMOVUPS(v, Mem{Base: dst, Disp: 128*row + 32*i})
		}
	}
	ADDQ(qstep, qs)
	ADDQ(dstep, ds)
	ADDQ(U32(2048), dst)
	DECQ(np)
	JNZ(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// transposeAVX2 writes transposeAVX2: n blocks of 8 columns of w ≤ 8 rows. Rows
// that are missing repeat the last.
func transposeAVX2() {
	TEXT("transposeAVX2", NOSPLIT, "func(w, n int, b *float32, ldb int, dst *float32, width int)")
	Pragma("noescape")
	Doc("transposeAVX2 copies b (w, 8n), rows ldb apart, to dst (8n, 8), rows width apart.",
		"Columns w to 7 repeat column w-1.")
	w, n, b, ldb, dst, width := param("w"), param("n"), param("b"), param("ldb"), param("dst"), param("width")
	SHLQ(U8(2), ldb)
	SHLQ(U8(2), width)
	row, step, still := GP64(), GP64(), GP64()
	XORQ(still, still)
	Label("loop")
	MOVQ(b, row)
	for i := range 8 {
		VMOVUPS(Mem{Base: row}, y[i])
		if i < 7 {
			MOVQ(ldb, step)
			CMPQ(w, U8(uint8(i+2)))
			CMOVQLT(still, step)
			ADDQ(step, row)
		}
	}
	for i := 0; i < 8; i += 2 {
		VUNPCKLPS(y[i+1], y[i], y[8+i])
		VUNPCKHPS(y[i+1], y[i], y[9+i])
	}
	for i := 0; i < 8; i += 4 { // y[i+j]: lane L holds rows i … i+3 of column 4L+j
		VUNPCKLPD(y[10+i], y[8+i], y[i])
		VUNPCKHPD(y[10+i], y[8+i], y[i+1])
		VUNPCKLPD(y[11+i], y[9+i], y[i+2])
		VUNPCKHPD(y[11+i], y[9+i], y[i+3])
	}
	for j := range 4 {
		VPERM2F128(U8(0x20), y[4+j], y[j], y[8+j])
		VPERM2F128(U8(0x31), y[4+j], y[j], y[12+j])
	}
	for i := range 8 {
		VMOVUPS(y[8+i], Mem{Base: dst})
		ADDQ(width, dst)
	}
	ADDQ(U32(32), b)
	DECQ(n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
