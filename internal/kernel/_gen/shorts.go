package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// This file writes the products of 16-bit whole numbers with AVX2: see
// ../shorts.go.

// shortHeights are the numbers of rows for which there is a shortTile.
var shortHeights = []int{6, 4, 3, 2, 1}

const (
	shortWords = 20   // of a block of activations
	shortSize  = 1152 // bytes of an unpacked block of a panel
)

// shorts writes the group.
func shorts() {
	for _, h := range shortHeights {
		shortTile(h, false)
		shortTile(h, true)
	}
	for h := 1; h <= 4; h++ {
		for _, bits := range []int{4, 8} {
			shortLane(h, bits, false)
			shortLane(h, bits, true)
		}
	}
	roundShorts()
	unpackShorts(4)
	unpackShorts(8)
	columnShorts()
}

// shortTile writes shortTile<h>, or with minima shortMinTile<h>. y0 … y(2h-1) hold
// the sums of a block; the floats stay in c.
func shortTile(h int, minima bool) {
	name := fmt.Sprintf("shortTile%d", h)
	if minima {
		name = fmt.Sprintf("shortMinTile%d", h)
	}
	TEXT(name, NOSPLIT, "func(tiles, nblk int, b *uint32, a *uint32, rs int, c *float32, ldc int, add int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is the shortTile of height %d: see shortTileGeneric.", name, h))
	b, rs, ldc, n, c := GP64(), param("rs"), param("ldc"), GP64(), param("c")
	SHLQ(U8(2), rs)
	SHLQ(U8(2), ldc)
	sums, left, right := y[:2*h], y[2*h], y[2*h+1]
	free := y[2*h+2 : 16]
	Label("tile")
	a := GP64()
	Load(Param("a"), a)
	x, to := rowsFrom(a, rs, h), rowsFrom(c, ldc, h)
	Load(Param("b"), b)
	Load(Param("nblk"), n)
	CMPQ(slot("add"), U8(0))
	JNE(LabelRef("fetch"))
	VPXOR(left, left, left)
	for m := range h {
		VMOVUPS(left, to.at[m])
		VMOVUPS(left, to.at[m].Offset(32))
	}
	JMP(LabelRef("block"))
	Label("fetch")
	for m := range h {
		PREFETCHT0(to.at[m])
	}
	Label("block")
	for k := range 16 {
		VMOVDQU(Mem{Base: b, Disp: 64 * k}, left)
		VMOVDQU(Mem{Base: b, Disp: 64*k + 32}, right)
		for m := range h {
			first, second := sums[2*m], sums[2*m+1]
			v, w := free[2*m%len(free)], free[(2*m+1)%len(free)]
			VPBROADCASTD(x.at[m].Offset(4*k), v)
			if k == 0 {
				VPMADDWD(left, v, first)
				VPMADDWD(right, v, second)
				continue
			}
			VPMADDWD(left, v, w)
			VPMADDWD(right, v, v)
			VPADDD(w, first, first)
			VPADDD(v, second, second)
		}
	}
	VMOVUPS(Mem{Base: b, Disp: 1024}, left)
	VMOVUPS(Mem{Base: b, Disp: 1024 + 32}, right)
	for m := range h {
		VBROADCASTSS(x.at[m].Offset(64), free[0])
		for i, d := range []reg.VecPhysical{left, right} {
			sum, at := sums[2*m+i], to.at[m].Offset(32*i)
			VCVTDQ2PS(sum, sum)
			VMULPS(free[0], d, free[1])
			VFMADD213PS(at, free[1], sum)
			if !minima {
				VMOVUPS(sum, at)
			}
		}
	}
	if minima {
		VMOVUPS(Mem{Base: b, Disp: 1024 + 64}, left)
		VMOVUPS(Mem{Base: b, Disp: 1024 + 96}, right)
		for m := range h {
			VBROADCASTSS(x.at[m].Offset(68), free[0])
			for i, least := range []reg.VecPhysical{left, right} {
				VFMADD231PS(least, free[0], sums[2*m+i])
				VMOVUPS(sums[2*m+i], to.at[m].Offset(32*i))
			}
		}
	}
	for _, p := range x.bases {
		ADDQ(U8(4*shortWords), p)
	}
	ADDQ(U32(shortSize), b)
	DECQ(n)
	JNZ(LabelRef("block"))
	next := GP64()
	IMUL3Q(U8(uint8(h)), rs, next)
	ADDQ(next, slot("a"))
	IMUL3Q(U8(uint8(h)), ldc, next)
	ADDQ(next, c)
	DECQ(slot("tiles"))
	JNZ(LabelRef("tile"))
	VZEROUPPER()
	RET()
}

// shortLane writes a shortLane of h rows: eight columns of a panel at a time.
// y0 … y(h-1) hold the floats, y4 … y(3+h) the sums of a block.
func shortLane(h, bits int, minima bool) {
	kind := "shortLane"
	if minima {
		kind = "shortMinLane"
	}
	name := fmt.Sprintf("%s%dx%d", kind, bits, h)
	TEXT(name, NOSPLIT, "func(np, nblk int, qs *byte, ds, ms *uint16, a *uint32, rs int, c *float32, ldc int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is the shortLane of %d rows on %d-bit weights: see shortLaneGeneric.", name, h, bits))
	t := &intsAVX2{weightPointers: newWeightPointers(bits, minima)}
	nblk, rs, c, ldc, half, n := param("nblk"), param("rs"), param("c"), param("ldc"), GP64(), GP64()
	SHLQ(U8(2), rs)
	SHLQ(U8(2), ldc)
	Label("panel")
	MOVQ(U32(2), half)
	Label("half")
	a := GP64()
	Load(Param("a"), a)
	x := rowsFrom(a, rs, h)
	MOVQ(nblk, n)
	for m := range h {
		VXORPS(y[m], y[m], y[m])
	}
	Label("block")
	laneDots(t.qs, x, h, bits)
	d, least, v := y[8], y[9], y[10]
	VCVTPH2PS(Mem{Base: t.ds}, d)
	if minima {
		VCVTPH2PS(Mem{Base: t.ms}, least)
	}
	for m := range h {
		sum := y[4+m]
		if !minima {
			VPBROADCASTD(x.at[m].Offset(68+bits), v)
			VPADDD(v, sum, sum)
		}
		VCVTDQ2PS(sum, sum)
		VBROADCASTSS(x.at[m].Offset(64), v)
		VMULPS(d, v, v)
		VFMADD231PS(sum, v, y[m])
		if minima {
			VBROADCASTSS(x.at[m].Offset(68), v)
			VFMADD231PS(v, least, y[m])
		}
	}
	t.weightPointers.advance()
	for _, p := range x.bases {
		ADDQ(U8(4*shortWords), p)
	}
	DECQ(n)
	JNZ(LabelRef("block"))
	storePanel(c, ldc, y[:h])
	ADDQ(U32(32), c)
	DECQ(half)
	JZ(LabelRef("next"))
	t.turnBack(nblk)
	JMP(LabelRef("half"))
	Label("next")
	t.columns(-8)
	DECQ(slot("np"))
	JNZ(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// laneDots multiplies the 32 numbers of a block: y4 … y(3+h) = sums.
func laneDots(qs reg.GPVirtual, x *rowSet, h, bits int) {
	mask, products := shortMask(bits), y[13:16]
	turn := 0
	multiply := func(word int, w reg.VecPhysical) {
		for m := range h {
			p := products[turn%3]
			turn++
			VPBROADCASTD(x.at[m].Offset(4*word), p)
			if word == 0 {
				VPMADDWD(w, p, y[4+m])
				continue
			}
			VPMADDWD(w, p, p)
			VPADDD(p, y[4+m], y[4+m])
		}
	}
	for j := range bits {
		raw := y[8]
		VMOVDQU(Mem{Base: qs, Disp: 64 * j}, raw)
		PREFETCHT0(Mem{Base: qs, Disp: 64*j + ahead})
		if bits == 8 {
			VPAND(mask, raw, y[9])
			VPSRLW(U8(8), raw, y[10])
			multiply(j/2*4+j%2, y[9])
			multiply(j/2*4+j%2+2, y[10])
			continue
		}
		VPSRLW(U8(4), raw, y[10])
		VPSRLW(U8(8), raw, y[11])
		VPAND(mask, raw, y[9])
		VPAND(mask, y[10], y[10])
		VPAND(mask, y[11], y[11])
		VPSRLW(U8(12), raw, y[12])
		for i := range 4 {
			multiply(4*j+i, y[9+i])
		}
	}
}

// shortMask keeps the weights in the low bits of 16.
func shortMask(bits int) Mem {
	return words(fmt.Sprintf("low%dof16", bits), map[int]uint32{4: 0x000f000f, 8: 0x00ff00ff}[bits])
}

// The bits of numbers that roundShorts uses.
const (
	bits32767        = 0x46fffe00
	bitsInverse32767 = 0x38000100
)

// roundShorts writes roundShortsAVX2: a row of activations.
func roundShorts() {
	TEXT("roundShortsAVX2", NOSPLIT, "func(nblk int, x *float32, dst *uint32)")
	Pragma("noescape")
	Doc("roundShortsAVX2 is roundShortsGeneric.")
	n, x, dst := param("nblk"), param("x"), param("dst")
	order := GLOBL("shortOrder", RODATA|NOPTR)
	for lane := range 2 {
		for i, b := range []byte{0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15} {
			DATA(16*lane+i, U8(b))
		}
	}
	woven := GLOBL("shortWoven", RODATA|NOPTR)
	for i, d := range []uint32{0, 4, 1, 5, 2, 6, 3, 7} {
		DATA(4*i, U32(d))
	}
	Label("block")
	for i := range 4 {
		VMOVUPS(Mem{Base: x, Disp: 32 * i}, y[i])
		VPAND(words("magnitude", 0x7fffffff), y[i], y[4+i])
	}
	VPMAXUD(y[4], y[5], y[4]) // as integers, so that a NaN is the largest
	VPMAXUD(y[6], y[7], y[6])
	VPMAXUD(y[4], y[6], y[4])
	VEXTRACTI128(U8(1), y[4], reg.X5)
	VPMAXUD(reg.X4, reg.X5, reg.X4)
	fold(func(a, b, dst Op) { VPMAXUD(a, b, dst) }, reg.X4, reg.X5)
	VPMAXUD(words("leastTop", leastTop), reg.X4, reg.X7)
	VPCMPEQD(reg.X4, reg.X7, reg.X7) // top >= leastTop
	VMULPS(words("inverse32767", bitsInverse32767), reg.X4, reg.X5)
	VPAND(reg.X7, reg.X5, reg.X5)
	VMOVUPS(words("f32767", bits32767), reg.X6)
	VDIVPS(reg.X4, reg.X6, reg.X6)
	VPAND(reg.X7, reg.X6, reg.X6)
	VBROADCASTSS(reg.X6, y[6])
	for i := range 4 {
		VMULPS(y[i], y[6], y[i])
		VCVTPS2DQ(y[i], y[i])
	}
	VMOVDQU(words("ones16", 0x00010001), y[8])
	for i := range 2 {
		v := y[2*i]
		VPACKSSDW(y[2*i+1], v, v)
		VPMADDWD(v, y[8], y[9+i])
		VPSHUFB(order, v, v)
		VMOVDQU(woven, y[7])
		VPERMD(v, y[7], v)
		VMOVDQU(v, Mem{Base: dst, Disp: 32 * i})
	}
	VPADDD(y[9], y[10], y[9])
	VEXTRACTI128(U8(1), y[9], reg.X10)
	VPADDD(reg.X9, reg.X10, reg.X9)
	fold(func(a, b, dst Op) { VPADDD(a, b, dst) }, reg.X9, reg.X10)
	VCVTDQ2PS(reg.X9, reg.X10)
	VMULSS(reg.X5, reg.X10, reg.X10)
	VMOVSS(reg.X5, Mem{Base: dst, Disp: 64})
	VMOVSS(reg.X10, Mem{Base: dst, Disp: 68})
	VPXOR(reg.X8, reg.X8, reg.X8)
	VPSUBD(reg.X9, reg.X8, reg.X9)
	VPSLLD(U8(3), reg.X9, reg.X9)
	VMOVD(reg.X9, Mem{Base: dst, Disp: 72})
	VPSLLD(U8(4), reg.X9, reg.X9)
	VMOVD(reg.X9, Mem{Base: dst, Disp: 76})
	ADDQ(U32(128), x)
	ADDQ(U8(4*shortWords), dst)
	DECQ(n)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// unpackShorts writes unpackShorts4AVX2 or unpackShorts8AVX2: blocks of a panel.
func unpackShorts(bits int) {
	name := fmt.Sprintf("unpackShorts%dAVX2", bits)
	TEXT(name, NOSPLIT, "func(nblk int, qs *byte, ds, ms *uint16, dst *uint32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is unpackShorts%dGeneric.", name, bits))
	n, qs, ds, ms, dst := param("nblk"), param("qs"), param("ds"), param("ms"), param("dst")
	mask, zero := y[15], y[14]
	VMOVDQU(shortMask(bits), mask)
	VPXOR(zero, zero, zero)
	TESTQ(ms, ms)
	JNZ(LabelRef("block"))
	VMOVDQU(words(fmt.Sprintf("zeros16of%d", bits), map[int]uint32{4: 0x00080008, 8: 0x00800080}[bits]), zero)
	Label("block")
	for j := range bits {
		for half := range 2 {
			raw := y[6*half]
			VMOVDQU(Mem{Base: qs, Disp: 64*j + 32*half}, raw)
			store := func(word int, w reg.VecPhysical) {
				VPSUBW(zero, w, w)
				VMOVDQU(w, Mem{Base: dst, Disp: 64*word + 32*half})
			}
			w := y[6*half+1 : 6*half+5]
			if bits == 8 {
				VPAND(mask, raw, w[0])
				VPSRLW(U8(8), raw, w[1])
				store(j/2*4+j%2, w[0])
				store(j/2*4+j%2+2, w[1])
				continue
			}
			VPAND(mask, raw, w[0])
			VPSRLW(U8(4), raw, w[1])
			VPAND(mask, w[1], w[1])
			VPSRLW(U8(8), raw, w[2])
			VPAND(mask, w[2], w[2])
			VPSRLW(U8(12), raw, w[3])
			for i := range 4 {
				store(4*j+i, w[i])
			}
		}
	}
	for half := range 2 {
		VCVTPH2PS(Mem{Base: ds, Disp: 16 * half}, y[half])
		VMOVUPS(y[half], Mem{Base: dst, Disp: 1024 + 32*half})
	}
	TESTQ(ms, ms)
	JZ(LabelRef("next"))
	for half := range 2 {
		VCVTPH2PS(Mem{Base: ms, Disp: 16 * half}, y[half])
		VMOVUPS(y[half], Mem{Base: dst, Disp: 1024 + 64 + 32*half})
	}
	ADDQ(U8(32), ms)
	Label("next")
	ADDQ(U32(uint32(64*bits)), qs)
	ADDQ(U8(32), ds)
	ADDQ(U32(shortSize), dst)
	DECQ(n)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// columnShorts writes columnShortsAVX2: 32 rows of 32 columns of floats as blocks
// of two panels.
func columnShorts() {
	TEXT("columnShortsAVX2", NOSPLIT, "func(nblk int, src *float32, dst *uint32, step int)")
	Pragma("noescape")
	Doc("columnShortsAVX2 is columnShortsGeneric.")
	n, src, dst, step := param("nblk"), param("src"), param("dst"), param("step")
	SHLQ(U8(2), step)
	at, group := GP64(), GP64()
	Label("block")
	MOVQ(U32(4), group)
	MOVQ(dst, at)
	Label("group")
	row := func(r int) Mem { return Mem{Base: src, Disp: 128 * r} }
	magnitude, top, low := y[15], y[0], y[14]
	VMOVDQU(words("magnitude", 0x7fffffff), magnitude)
	for i := range 4 {
		VPAND(row(i), magnitude, y[i])
	}
	for r := 4; r < 32; r++ {
		VPAND(row(r), magnitude, y[4+r%4])
		VPMAXUD(y[4+r%4], y[r%4], y[r%4])
	}
	VPMAXUD(y[1], y[0], y[0])
	VPMAXUD(y[3], y[2], y[2])
	VPMAXUD(y[2], y[0], top)
	VPMAXUD(words("leastTop", leastTop), top, y[1])
	VPCMPEQD(top, y[1], y[1]) // top >= leastTop
	VMULPS(words("inverse2047", bitsInverse2047), top, y[2])
	VPAND(y[1], y[2], y[2])
	VMOVUPS(y[2], Mem{Base: at, Disp: 1024})
	VMOVUPS(words("f2047", bits2047), y[2])
	VDIVPS(top, y[2], y[2])
	VPAND(y[1], y[2], top)
	VMOVDQU(words("lowHalves", 0x0000ffff), low)
	for k := range 16 {
		even := k/4*8 + []int{0, 4, 1, 5}[k%4]
		v, w := y[2+2*(k%4)], y[3+2*(k%4)]
		VMULPS(row(even), top, v)
		VMULPS(row(even+2), top, w)
		VCVTPS2DQ(v, v)
		VCVTPS2DQ(w, w)
		VPAND(low, v, v)
		VPSLLD(U8(16), w, w)
		VPOR(v, w, v)
		VMOVDQU(v, Mem{Base: at, Disp: 64 * k})
	}
	ADDQ(U8(32), src)
	ADDQ(U8(32), at)
	DECQ(group)
	JZ(LabelRef("next"))
	CMPQ(group, U8(2))
	JNE(LabelRef("group"))
	LEAQ(Mem{Base: dst, Index: step, Scale: 1}, at)
	JMP(LabelRef("group"))
	Label("next")
	ADDQ(U32(4096-128), src)
	ADDQ(U32(shortSize), dst)
	DECQ(n)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// The bits of numbers that columnShorts uses.
const (
	bits2047        = 0x44ffe000
	bitsInverse2047 = 0x3a001002
)
