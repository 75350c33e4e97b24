package main

import (
	"fmt"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// ahead is how far the weights are fetched in advance.
const ahead = 4096

// intText begins a zeroTile or a minTile whose rows of activations are parts rows
// of int8.
func intText(h, bits, parts int, minima bool) {
	kind, scales, last := "zeroTile", "ds *uint16", "s *float32, init *int32"
	if minima {
		kind, scales, last = "minTile", "ds, ms *uint16", "s, sum *float32"
	}
	name, which := fmt.Sprintf("%s%dx%d", kind, bits, h), "fine"
	if parts == 1 {
		name, which = "coarse"+strings.ToUpper(name[:1])+name[1:], "coarse"
	}
	TEXT(name, NOSPLIT, "func(np, nblk int, qs *byte, "+scales+", a *int8, "+last+", c *float32, ldc int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is the %s %s of height %d on %d-bit weights: see %sGeneric.", name, which, kind, h, bits, kind))
}

// weightPointers are where the weights of a tile are read.
type weightPointers struct {
	bits       int
	minima     bool
	qs, ds, ms reg.GPVirtual // ms only with minima
}

func newWeightPointers(bits int, minima bool) weightPointers {
	p := weightPointers{bits: bits, minima: minima, qs: param("qs"), ds: param("ds")}
	if minima {
		p.ms = param("ms")
	}
	return p
}

// advance moves to the next block.
func (p weightPointers) advance() {
	ADDQ(U32(uint32(64*p.bits)), p.qs)
	ADDQ(U32(32), p.ds)
	if p.minima {
		ADDQ(U32(32), p.ms)
	}
}

// activationPointers are where the activations of a tile are read, parts rows of
// int8 for each of floats: e holds sums with minima, initial sums without.
type activationPointers struct {
	rows, parts int
	a, s, e     reg.GPVirtual
}

func newActivationPointers(h, parts int) activationPointers {
	return activationPointers{parts * h, parts, GP64(), GP64(), GP64()}
}

// restart goes back to the first block.
func (p activationPointers) restart(minima bool) {
	Load(Param("a"), p.a)
	Load(Param("s"), p.s)
	if minima {
		Load(Param("sum"), p.e)
	} else {
		Load(Param("init"), p.e)
	}
}

// advance moves to the next block.
func (p activationPointers) advance() {
	ADDQ(U32(uint32(32*p.rows)), p.a)
	ADDQ(U32(uint32(4*p.rows)), p.s)
	ADDQ(U32(uint32(4*p.rows)), p.e)
}

// storePanel writes one register per row to c, rows ldc bytes apart.
func storePanel(c, ldc reg.GPVirtual, sums []reg.VecPhysical) {
	row := GP64()
	MOVQ(c, row)
	for m, sum := range sums {
		VMOVUPS(sum, Mem{Base: row})
		if m+1 < len(sums) {
			ADDQ(ldc, row)
		}
	}
}

// intTile writes zeroTile4, zeroTile8, minTile4 and minTile8 of height h.
//
// z0-7 hold the floats of the panel, z8-23 the integers of the block; in a coarse
// tile z0-11 and z12-23. Few rows split their products over several chains, to
// hide the latency.
func intTile(h, bits, parts int, minima bool) {
	intText(h, bits, parts, minima)
	np, nblk, c, ldc, n := param("np"), param("nblk"), param("c"), param("ldc"), GP64()
	SHLQ(U8(2), ldc)
	t := &ints{weightPointers: newWeightPointers(bits, minima), activationPointers: newActivationPointers(h, parts)}
	t.first, t.chains = 8, 1
	if parts == 1 {
		t.first = 12
	}
	switch {
	case t.rows <= 2:
		t.chains = 4
	case t.rows <= 4 || parts == 2 && t.rows <= 8:
		t.chains = 2
	}
	if bits == 4 {
		fill(0x0f0f0f0f, z[26])
	}
	Label("panel")
	t.restart(minima)
	MOVQ(nblk, n)
	for m := range h {
		VPXORD(z[m], z[m], z[m])
	}
	Label("block")
	t.start()
	t.dots()
	t.scale()
	t.weightPointers.advance()
	t.activationPointers.advance()
	DECQ(n)
	JNZ(LabelRef("block"))
	storePanel(c, ldc, z[:h])
	ADDQ(U32(64), c)
	DECQ(np)
	JNZ(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// ints is an intTile being written.
type ints struct {
	weightPointers
	activationPointers
	first  int // register of the first sum
	chains int
}

// sum is the accumulator of row m for group g of four numbers.
func (t *ints) sum(m, g int) reg.VecPhysical { return z[t.first+m*t.chains+g%t.chains] }

// start sets the accumulators.
func (t *ints) start() {
	for m := range t.rows {
		for i := range t.chains {
			if i == 0 && !t.minima {
				VPBROADCASTD(Mem{Base: t.e, Disp: 4 * m}, t.sum(m, 0))
			} else {
				VPXORD(t.sum(m, i), t.sum(m, i), t.sum(m, i))
			}
		}
	}
}

// dots multiplies the 32 numbers of a block.
func (t *ints) dots() {
	low, high, mask := z[24], z[25], z[26]
	for j := range 4 {
		if t.bits == 4 {
			VMOVDQU32(Mem{Base: t.qs, Disp: 64 * j}, high)
			VPANDD(high, mask, low)
			VPSRLD(U8(4), high, high)
			VPANDD(high, mask, high)
		} else {
			VMOVDQU32(Mem{Base: t.qs, Disp: 128 * j}, low)
			VMOVDQU32(Mem{Base: t.qs, Disp: 128*j + 64}, high)
		}
		for i := range t.bits / 4 {
			PREFETCHT0(Mem{Base: t.qs, Disp: 16*t.bits*j + 64*i + ahead})
		}
		for half, w := range []reg.VecPhysical{low, high} {
			g := 2*j + half
			for m := range t.rows {
				VPDPBUSD_BCST(Mem{Base: t.a, Disp: 4 * (g*t.rows + m)}, w, t.sum(m, g))
			}
		}
	}
	for m := range t.rows {
		for step := 1; step < t.chains; step *= 2 {
			for i := 0; i+step < t.chains; i += 2 * step {
				VPADDD(t.sum(m, i), t.sum(m, i+step), t.sum(m, i))
			}
		}
	}
}

// scale adds the block to the floats.
func (t *ints) scale() {
	d, least, products := z[27], z[28], z[29:32]
	VCVTPH2PS(Mem{Base: t.ds}, d)
	if t.minima {
		VCVTPH2PS(Mem{Base: t.ms}, least)
	}
	for m := range t.rows {
		p, sum := products[m%3], t.sum(m, 0)
		VCVTDQ2PS(sum, sum)
		VMULPS_BCST(Mem{Base: t.s, Disp: 4 * m}, d, p)
		VFMADD231PS(sum, p, z[m/t.parts])
		if t.minima && m%t.parts == 0 { // the total of both parts
			VFMADD231PS_BCST(Mem{Base: t.e, Disp: 4 * m}, least, z[m/t.parts])
		}
	}
}

// activationRow are the parameters of a quantise function.
type activationRow struct {
	parts                int
	n, step, x, a        reg.GPVirtual
	s, init4, init8, sum reg.GPVirtual
}

// quantiseText begins a function that makes a row of a tile parts rows of int8.
func quantiseText(parts int, suffix string) activationRow {
	if parts == 1 {
		suffix = "Coarse" + suffix
	}
	TEXT("quantise"+suffix, NOSPLIT, "func(nblk, height int, x *float32, a *int8, s *float32, init4, init8 *int32, sum *float32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("quantise%s is quantiseGeneric in %d parts.", suffix, parts))
	r := activationRow{parts, param("nblk"), param("height"), param("x"), param("a"),
		param("s"), param("init4"), param("init8"), param("sum")}
	SHLQ(U8(uint8(1+parts)), r.step)
	return r
}

// fold makes every lane of x the result of op over its four; t is used.
func fold(op func(a, b, dst Op), x, t reg.VecPhysical) {
	for _, order := range []uint8{0x4e, 0xb1} {
		VPSHUFD(U8(order), x, t)
		op(x, t, x)
	}
}

// scatter writes the eight groups of four bytes of the coarse (0) or the fine (1)
// row, group i being dword order[i].
func (r activationRow) scatter(row int, low, high reg.VecPhysical, order [8]int) {
	at := GP64()
	LEAQ(Mem{Base: r.a, Disp: 4 * row}, at)
	for g, i := range order {
		VPEXTRD(U8(uint8(i%4)), []reg.VecPhysical{low, high}[i/4], Mem{Base: at})
		if g < 7 {
			ADDQ(r.step, at)
		}
	}
}

// totals writes the scale of a row and what follows from the sum of its block,
// which is in x. It leaves scale times sum in x.
func (r activationRow) totals(row int, x, scale reg.VecPhysical) {
	total := GP32()
	VMOVSS(scale, Mem{Base: r.s, Disp: 4 * row})
	VMOVD(x, total)
	VCVTDQ2PS(x, x)
	VMULSS(x, scale, x)
	NEGL(total)
	SHLL(U8(3), total)
	MOVL(total, Mem{Base: r.init4, Disp: 4 * row})
	SHLL(U8(4), total)
	MOVL(total, Mem{Base: r.init8, Disp: 4 * row})
}

// next moves to the next block.
func (r activationRow) next() {
	LEAQ(Mem{Base: r.a, Index: r.step, Scale: 8}, r.a)
	ADDQ(U32(128), r.x)
	for _, p := range []reg.GPVirtual{r.s, r.init4, r.init8, r.sum} {
		ADDQ(r.step, p)
	}
}

// The bits of the numbers that quantise uses.
const (
	bits127        = 0x42fe0000
	bits254        = 0x437e0000
	bitsInverse127 = 0x3c010204
	bitsInverse254 = 0x3b810204
)

// quantise writes quantiseAVX512: a row of a tile as int8 with a scale per 32,
// and what that leaves as int8 with a scale 254 times finer. In one part it
// writes quantiseCoarseAVX512, which stops at the first.
func quantise(parts int) {
	r := quantiseText(parts, "AVX512")
	magnitude := z[31]
	fill(0x7fffffff, magnitude)
	fill(0x01010101, z[30])
	fill(bits127, z[29])
	fill(bitsInverse127, z[28])
	fill(leastTop, z[27])
	fill(bits254, z[26])
	fill(bitsInverse254, z[25])
	Label("block")
	VMOVUPS(Mem{Base: r.x}, z[0])
	VMOVUPS(Mem{Base: r.x, Disp: 64}, z[1])
	VPANDD(z[0], magnitude, z[2])
	VPANDD(z[1], magnitude, z[3])
	VPMAXUD(z[2], z[3], z[2]) // as integers, so that a NaN is the largest
	VEXTRACTI64X4(U8(1), z[2], y[3])
	VPMAXUD(y[2], y[3], y[2])
	VEXTRACTI128(U8(1), reg.Y2, reg.X3)
	VPMAXUD(reg.X2, reg.X3, reg.X2)
	fold(func(a, b, dst Op) { VPMAXUD(a, b, dst) }, reg.X2, reg.X3)
	VPCMPUD(U8(5), reg.X27, reg.X2, reg.K1) // top >= leastTop
	VMULPS_Z(reg.X28, reg.X2, reg.K1, reg.X4)
	VDIVPS_Z(reg.X2, reg.X29, reg.K1, reg.X5)
	VMULPS(reg.X25, reg.X4, reg.X6)
	VBROADCASTSS(reg.X5, z[5])
	for i, x := range []reg.VecPhysical{reg.X0, reg.X1} {
		coarse, back := z[8+i], z[10+i]
		VMULPS(z[i], z[5], z[i])
		VCVTPS2DQ(z[i], coarse)
		if parts == 1 {
			VPMOVSDB(coarse, []reg.VecPhysical{reg.X8, reg.X9}[i])
			continue
		}
		VCVTDQ2PS(coarse, back)
		VSUBPS(back, z[i], z[i])
		VMULPS(z[26], z[i], z[i])
		VCVTPS2DQ(z[i], z[i])
		VPMOVSDB(z[i], x)
		VPMOVSDB(coarse, []reg.VecPhysical{reg.X8, reg.X9}[i])
	}
	for row, x := range [][2]reg.VecPhysical{{reg.X8, reg.X9}, {reg.X0, reg.X1}}[:parts] {
		low, high, sum := x[0], x[1], []reg.VecPhysical{reg.X12, reg.X13}[row]
		r.scatter(row, low, high, [8]int{0, 1, 2, 3, 4, 5, 6, 7})
		bytes := []reg.VecPhysical{y[8], y[0]}[row]
		VINSERTI128(U8(1), high, bytes, bytes)
		VPXOR(reg.Y14, reg.Y14, reg.Y14)
		VPDPBUSD(bytes, y[30], y[14])
		VEXTRACTI128(U8(1), reg.Y14, reg.X15)
		VPADDD(reg.X14, reg.X15, sum)
		fold(func(a, b, dst Op) { VPADDD(a, b, dst) }, sum, reg.X15)
		r.totals(row, sum, []reg.VecPhysical{reg.X4, reg.X6}[row])
	}
	if parts == 2 {
		VADDSS(reg.X12, reg.X13, reg.X12)
	}
	VMOVSS(reg.X12, Mem{Base: r.sum})
	r.next()
	DECQ(r.n)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// leastTop is the bits of 2⁻¹⁰⁰: a block whose largest number is below counts
// as zero.
const leastTop = (127 - 100) << 23
