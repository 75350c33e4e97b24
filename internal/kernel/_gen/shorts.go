package main

import (
	"fmt"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// This file writes the products of whole numbers with AVX2: see ../shorts.go.

// shortHeights are the numbers of rows for which there is a panelTile.
var shortHeights = []int{6, 4, 3, 2, 1}

// unit is the kind of whole numbers: 16 bits in words of two, or 8 in words of four.
type unit struct {
	name  string
	words int // of 32 numbers
}

var units = []unit{{"short", 16}, {"byte", 8}}

// title is the name with a capital.
func (u unit) title() string { return strings.ToUpper(u.name[:1]) + u.name[1:] }

// The places in a block of activations, in bytes, and its size.
func (u unit) scale() int { return 4 * u.words }
func (u unit) total() int { return 4*u.words + 4 }
func (u unit) init(bits int) int {
	return 4*u.words + 4 + bits // 8 for four bits, 12 for eight
}
func (u unit) size() int { return 4*u.words + 16 }

// scales is where the scales lie in an unpacked block of a panel, and minima behind
// them; panel is its size.
func (u unit) scales() int { return 64 * u.words }
func (u unit) panel() int  { return 64*u.words + 128 }

// first and more write the product of weights and activations to sum, or to a
// spare register and add it. Bytes are unsigned weights, whose products are added up
// in 16 bits: 8·2·15·127 < 2¹⁵.
func (u unit) first(x, weights, sum reg.VecPhysical) {
	if u.words == 8 {
		VPMADDUBSW(x, weights, sum)
	} else {
		VPMADDWD(weights, x, sum)
	}
}

func (u unit) add(product, sum reg.VecPhysical) {
	if u.words == 8 {
		VPADDW(product, sum, sum)
	} else {
		VPADDD(product, sum, sum)
	}
}

// whole makes the sum of a block one of 32 bits.
func (u unit) whole(sum reg.VecPhysical) {
	if u.words == 8 {
		VPMADDWD(words("ones16", 0x00010001), sum, sum)
	}
}

// shorts writes the group.
func shorts() {
	for _, u := range units {
		for _, h := range shortHeights {
			panelTile(u, h, false)
			panelTile(u, h, true)
		}
		for h := 1; h <= 4; h++ {
			for bits := 4; bits <= u.words/2; bits += 4 {
				panelLane(u, h, bits, false)
				panelLane(u, h, bits, true)
			}
		}
		rounded(u)
	}
	unpackShorts(4)
	unpackShorts(8)
	unpackBytes()
	columnShorts()
}

// panelTile writes shortTile<h> or byteTile<h>, or with minima …MinTile<h>.
// y0 … y(2h-1) hold the sums of a block; the floats stay in c.
func panelTile(u unit, h int, minima bool) {
	name := fmt.Sprintf("%sTile%d", u.name, h)
	if minima {
		name = fmt.Sprintf("%sMinTile%d", u.name, h)
	}
	TEXT(name, NOSPLIT, "func(tiles, nblk int, b *uint32, a *uint32, rs int, c *float32, ldc int, add int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is the panelTile of height %d: see %sTileGeneric.", name, h, u.name))
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
	for k := range u.words {
		VMOVDQU(Mem{Base: b, Disp: 64 * k}, left)
		VMOVDQU(Mem{Base: b, Disp: 64*k + 32}, right)
		for m := range h {
			first, second := sums[2*m], sums[2*m+1]
			v, w := free[2*m%len(free)], free[(2*m+1)%len(free)]
			VPBROADCASTD(x.at[m].Offset(4*k), v)
			if k == 0 {
				u.first(v, left, first)
				u.first(v, right, second)
				continue
			}
			u.first(v, left, w)
			u.first(v, right, v)
			u.add(w, first)
			u.add(v, second)
		}
	}
	VMOVUPS(Mem{Base: b, Disp: u.scales()}, left)
	VMOVUPS(Mem{Base: b, Disp: u.scales() + 32}, right)
	for m := range h {
		for i := range 2 {
			u.whole(sums[2*m+i])
		}
		if u.words == 8 && !minima {
			VPBROADCASTD(x.at[m].Offset(u.init(4)), free[0])
			VPADDD(free[0], sums[2*m], sums[2*m])
			VPADDD(free[0], sums[2*m+1], sums[2*m+1])
		}
		VBROADCASTSS(x.at[m].Offset(u.scale()), free[0])
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
		VMOVUPS(Mem{Base: b, Disp: u.scales() + 64}, left)
		VMOVUPS(Mem{Base: b, Disp: u.scales() + 96}, right)
		for m := range h {
			VBROADCASTSS(x.at[m].Offset(u.total()), free[0])
			for i, least := range []reg.VecPhysical{left, right} {
				VFMADD231PS(least, free[0], sums[2*m+i])
				VMOVUPS(sums[2*m+i], to.at[m].Offset(32*i))
			}
		}
	}
	for _, p := range x.bases {
		ADDQ(U8(uint8(u.size())), p)
	}
	ADDQ(U32(uint32(u.panel())), b)
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

// panelLane writes a panelLane of h rows: eight columns of a panel at a time.
// y0 … y(h-1) hold the floats, y4 … y(3+h) the sums of a block.
func panelLane(u unit, h, bits int, minima bool) {
	kind := u.name + "Lane"
	if minima {
		kind = u.name + "MinLane"
	}
	name := fmt.Sprintf("%s%dx%d", kind, bits, h)
	TEXT(name, NOSPLIT, "func(np, nblk int, qs *byte, ds, ms *uint16, a *uint32, rs int, c *float32, ldc int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is the panelLane of %d rows on %d-bit weights: see panelLaneGeneric.", name, h, bits))
	t := newWeightPointers(bits, minima)
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
	u.laneDots(t.qs, x, h, bits)
	d, least, v := y[8], y[9], y[10]
	VCVTPH2PS(Mem{Base: t.ds}, d)
	if minima {
		VCVTPH2PS(Mem{Base: t.ms}, least)
	}
	for m := range h {
		sum := y[4+m]
		u.whole(sum)
		if !minima {
			VPBROADCASTD(x.at[m].Offset(u.init(bits)), v)
			VPADDD(v, sum, sum)
		}
		VCVTDQ2PS(sum, sum)
		VBROADCASTSS(x.at[m].Offset(u.scale()), v)
		VMULPS(d, v, v)
		VFMADD231PS(sum, v, y[m])
		if minima {
			VBROADCASTSS(x.at[m].Offset(u.total()), v)
			VFMADD231PS(v, least, y[m])
		}
	}
	t.advance()
	for _, p := range x.bases {
		ADDQ(U8(uint8(u.size())), p)
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

// turnBack goes to the beginning of the panel, eight columns further right.
func (p weightPointers) turnBack(nblk reg.GPVirtual) {
	size := GP64()
	IMUL3Q(U32(uint32(64*p.bits)), nblk, size)
	SUBQ(size, p.qs)
	IMUL3Q(U32(32), nblk, size)
	SUBQ(size, p.ds)
	if p.minima {
		SUBQ(size, p.ms)
	}
	p.columns(8)
}

// columns moves n columns to the right.
func (p weightPointers) columns(n int) {
	ADDQ(I32(int32(4*n)), p.qs)
	ADDQ(I32(int32(2*n)), p.ds)
	if p.minima {
		ADDQ(I32(int32(2*n)), p.ms)
	}
}

// laneDots multiplies the 32 numbers of a block: y4 … y(3+h) = sums.
func (u unit) laneDots(qs reg.GPVirtual, x *rowSet, h, bits int) {
	products, turn := y[13:16], 0
	multiply := func(word int, w reg.VecPhysical) {
		for m := range h {
			p := products[turn%3]
			turn++
			VPBROADCASTD(x.at[m].Offset(4*word), p)
			if word == 0 {
				u.first(p, w, y[4+m])
				continue
			}
			u.first(p, w, p)
			u.add(p, y[4+m])
		}
	}
	for j := range bits {
		raw := y[8]
		VMOVDQU(Mem{Base: qs, Disp: 64 * j}, raw)
		PREFETCHT0(Mem{Base: qs, Disp: 64*j + ahead})
		switch {
		case u.words == 8:
			mask := words("nibbles", 0x0f0f0f0f)
			VPAND(mask, raw, y[9])
			VPSRLD(U8(4), raw, y[10])
			VPAND(mask, y[10], y[10])
			multiply(2*j, y[9])
			multiply(2*j+1, y[10])
		case bits == 8:
			VPAND(shortMask(8), raw, y[9])
			VPSRLW(U8(8), raw, y[10])
			multiply(j/2*4+j%2, y[9])
			multiply(j/2*4+j%2+2, y[10])
		default:
			VPSRLW(U8(4), raw, y[10])
			VPSRLW(U8(8), raw, y[11])
			VPAND(shortMask(4), raw, y[9])
			VPAND(shortMask(4), y[10], y[10])
			VPAND(shortMask(4), y[11], y[11])
			VPSRLW(U8(12), raw, y[12])
			for i := range 4 {
				multiply(4*j+i, y[9+i])
			}
		}
	}
}

// shortMask keeps the weights in the low bits of 16.
func shortMask(bits int) Mem {
	return words(fmt.Sprintf("low%dof16", bits), map[int]uint32{4: 0x000f000f, 8: 0x00ff00ff}[bits])
}

// The bits of numbers that rounded uses.
const (
	bits32767        = 0x46fffe00
	bitsInverse32767 = 0x38000100
)

// rounded writes roundShortsAVX2 or roundBytesAVX2: a row of activations.
func rounded(u unit) {
	name := fmt.Sprintf("round%ssAVX2", u.title())
	TEXT(name, NOSPLIT, "func(nblk int, x *float32, dst *uint32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is round%ssGeneric.", name, u.title()))
	n, x, dst := param("nblk"), param("x"), param("dst")
	top, inverse := words("f32767", bits32767), words("inverse32767", bitsInverse32767)
	if u.words == 8 {
		top, inverse = words("f127", bits127), words("inverse127", bitsInverse127)
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
	VMULPS(inverse, reg.X4, reg.X5)
	VPAND(reg.X7, reg.X5, reg.X5)
	VMOVUPS(top, reg.X6)
	VDIVPS(reg.X4, reg.X6, reg.X6)
	VPAND(reg.X7, reg.X6, reg.X6)
	VBROADCASTSS(reg.X6, y[6])
	for i := range 4 {
		VMULPS(y[i], y[6], y[i])
		VCVTPS2DQ(y[i], y[i])
	}
	VMOVDQU(words("ones16", 0x00010001), y[8])
	for i := range 2 {
		VPACKSSDW(y[2*i+1], y[2*i], y[2*i])
		VPMADDWD(y[2*i], y[8], y[9+i])
	}
	VMOVDQU(dwords("inTurn", inTurn), y[7])
	if u.words == 8 {
		VPACKSSWB(y[2], y[0], y[0]) // dwords: groups 0 2 4 6 | 1 3 5 7
		VPERMD(y[0], y[7], y[0])
		VMOVDQU(y[0], Mem{Base: dst})
	} else {
		for i := range 2 {
			VPSHUFB(dwords("evenFirst", evenFirst), y[2*i], y[2*i])
			VPERMD(y[2*i], y[7], y[2*i])
			VMOVDQU(y[2*i], Mem{Base: dst, Disp: 32 * i})
		}
	}
	VPADDD(y[9], y[10], y[9])
	VEXTRACTI128(U8(1), y[9], reg.X10)
	VPADDD(reg.X9, reg.X10, reg.X9)
	fold(func(a, b, dst Op) { VPADDD(a, b, dst) }, reg.X9, reg.X10)
	VCVTDQ2PS(reg.X9, reg.X10)
	VMULSS(reg.X5, reg.X10, reg.X10)
	VMOVSS(reg.X5, Mem{Base: dst, Disp: u.scale()})
	VMOVSS(reg.X10, Mem{Base: dst, Disp: u.total()})
	VPXOR(reg.X8, reg.X8, reg.X8)
	VPSUBD(reg.X9, reg.X8, reg.X9)
	VPSLLD(U8(3), reg.X9, reg.X9)
	VMOVD(reg.X9, Mem{Base: dst, Disp: u.init(4)})
	VPSLLD(U8(4), reg.X9, reg.X9)
	VMOVD(reg.X9, Mem{Base: dst, Disp: u.init(8)})
	ADDQ(U32(128), x)
	ADDQ(U8(uint8(u.size())), dst)
	DECQ(n)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// inTurn is the order that puts the dwords of two lanes in turn, evenFirst the one
// that puts the even ones of four words first.
var (
	inTurn    = []uint32{0, 4, 1, 5, 2, 6, 3, 7}
	evenFirst = []uint32{0x05040100, 0x07060302, 0x0d0c0908, 0x0f0e0b0a, 0x05040100, 0x07060302, 0x0d0c0908, 0x0f0e0b0a}
)

// dwords returns a 32-byte constant of eight words, defined once.
func dwords(name string, values []uint32) Mem {
	if _, ok := wordsKnown[name]; !ok {
		m := GLOBL(name, RODATA|NOPTR)
		for i, d := range values {
			DATA(4*i, U32(d))
		}
		wordsKnown[name] = m
	}
	return wordsKnown[name]
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
	unpackScales(ds, ms, dst, units[0].scales())
	ADDQ(U32(uint32(64*bits)), qs)
	ADDQ(U32(uint32(units[0].panel())), dst)
	DECQ(n)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// unpackBytes writes unpackBytesAVX2: blocks of a panel of 4-bit weights.
func unpackBytes() {
	u := units[1]
	TEXT("unpackBytesAVX2", NOSPLIT, "func(nblk int, qs *byte, ds, ms *uint16, dst *uint32)")
	Pragma("noescape")
	Doc("unpackBytesAVX2 is unpackBytesGeneric.")
	n, qs, ds, ms, dst := param("nblk"), param("qs"), param("ds"), param("ms"), param("dst")
	mask := y[15]
	VMOVDQU(words("nibbles", 0x0f0f0f0f), mask)
	Label("block")
	for j := range 8 {
		low, high := y[2*(j%4)], y[2*(j%4)+1]
		VMOVDQU(Mem{Base: qs, Disp: 32 * j}, low)
		VPSRLD(U8(4), low, high)
		VPAND(mask, low, low)
		VPAND(mask, high, high)
		VMOVDQU(low, Mem{Base: dst, Disp: 128*(j/2) + 32*(j%2)})
		VMOVDQU(high, Mem{Base: dst, Disp: 128*(j/2) + 64 + 32*(j%2)})
	}
	unpackScales(ds, ms, dst, u.scales())
	ADDQ(U32(256), qs)
	ADDQ(U32(uint32(u.panel())), dst)
	DECQ(n)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// unpackScales writes the scales of a block, and minima where there are.
func unpackScales(ds, ms, dst reg.GPVirtual, at int) {
	for half := range 2 {
		VCVTPH2PS(Mem{Base: ds, Disp: 16 * half}, y[half])
		VMOVUPS(y[half], Mem{Base: dst, Disp: at + 32*half})
	}
	ADDQ(U8(32), ds)
	TESTQ(ms, ms)
	JZ(LabelRef("scaled"))
	for half := range 2 {
		VCVTPH2PS(Mem{Base: ms, Disp: 16 * half}, y[half])
		VMOVUPS(y[half], Mem{Base: dst, Disp: at + 64 + 32*half})
	}
	ADDQ(U8(32), ms)
	Label("scaled")
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
	VMOVUPS(y[2], Mem{Base: at, Disp: units[0].scales()})
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
	ADDQ(U32(uint32(units[0].panel())), dst)
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
