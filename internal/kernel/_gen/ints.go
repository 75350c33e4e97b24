package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// ahead is how far the weights are fetched in advance when few rows use them.
const ahead = 4096

// intText begins a zeroTile or a minTile.
func intText(h, bits int, minima bool, suffix string) {
	kind, scales, last := "zeroTile", "ds *uint16", "s *float32, init *int32"
	if minima {
		kind, scales, last = "minTile", "ds, ms *uint16", "s, sum *float32"
	}
	name := fmt.Sprintf("%s%dx%d%s", kind, bits, h, suffix)
	TEXT(name, NOSPLIT, "func(np, nblk int, qs *byte, "+scales+", a *int8, "+last+", c *float32, ldc int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is the %s of height %d on %d-bit weights: see %sGeneric.", name, kind, h, bits, kind))
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

// activationPointers are where the activations of a tile are read: e holds sums
// with minima, initial sums without.
type activationPointers struct {
	h       int
	a, s, e reg.GPVirtual
}

func newActivationPointers(h int) activationPointers {
	return activationPointers{h, GP64(), GP64(), GP64()}
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
	ADDQ(U32(uint32(32*p.h)), p.a)
	ADDQ(U32(uint32(4*p.h)), p.s)
	ADDQ(U32(uint32(4*p.h)), p.e)
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
// z0-11 hold the floats of the panel, z12-23 the integers of the block. Few rows
// split their products over several chains, to hide the latency.
func intTile(h, bits int, minima bool) {
	intText(h, bits, minima, "")
	np, nblk, c, ldc, n := param("np"), param("nblk"), param("c"), param("ldc"), GP64()
	SHLQ(U8(2), ldc)
	t := &ints{weightPointers: newWeightPointers(bits, minima), activationPointers: newActivationPointers(h)}
	t.chains = map[int]int{1: 4, 2: 2, 3: 2}[h]
	if t.chains == 0 {
		t.chains = 1
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
	chains int
}

// sum is the accumulator of row m for group g of four numbers.
func (t *ints) sum(m, g int) reg.VecPhysical { return z[12+m*t.chains+g%t.chains] }

// start sets the accumulators.
func (t *ints) start() {
	for m := range t.h {
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
		if t.h <= 4 {
			for i := range t.bits / 4 {
				PREFETCHT0(Mem{Base: t.qs, Disp: 16*t.bits*j + 64*i + ahead})
			}
		}
		for half, w := range []reg.VecPhysical{low, high} {
			g := 2*j + half
			for m := range t.h {
				VPDPBUSD_BCST(Mem{Base: t.a, Disp: 4 * (g*t.h + m)}, w, t.sum(m, g))
			}
		}
	}
	for m := range t.h {
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
	for m := range t.h {
		p, sum := products[m%3], t.sum(m, 0)
		VCVTDQ2PS(sum, sum)
		VMULPS_BCST(Mem{Base: t.s, Disp: 4 * m}, d, p)
		VFMADD231PS(sum, p, z[m])
		if t.minima {
			VFMADD231PS_BCST(Mem{Base: t.e, Disp: 4 * m}, least, z[m])
		}
	}
}

// activationRow are the parameters of a quantise function.
type activationRow struct {
	n, step, x, a        reg.GPVirtual
	s, init4, init8, sum reg.GPVirtual
}

// quantiseText begins a function that makes a row of a tile int8.
func quantiseText(suffix string) activationRow {
	TEXT("quantise"+suffix, NOSPLIT, "func(nblk, height int, x *float32, a *int8, s *float32, init4, init8 *int32, sum *float32)")
	Pragma("noescape")
	Doc("quantise" + suffix + " is quantiseGeneric.")
	r := activationRow{param("nblk"), param("height"), param("x"), param("a"),
		param("s"), param("init4"), param("init8"), param("sum")}
	SHLQ(U8(2), r.step)
	return r
}

// fold makes every lane of x the result of op over its four; t is used.
func fold(op func(a, b, dst Op), x, t reg.VecPhysical) {
	for _, order := range []uint8{0x4e, 0xb1} {
		VPSHUFD(U8(order), x, t)
		op(x, t, x)
	}
}

// scatter writes the eight groups of four bytes in x, group i being dword
// order[i], and moves a to the next block.
func (r activationRow) scatter(low, high reg.VecPhysical, order [8]int) {
	at := GP64()
	MOVQ(r.a, at)
	for g, i := range order {
		VPEXTRD(U8(uint8(i%4)), []reg.VecPhysical{low, high}[i/4], Mem{Base: at})
		if g < 7 {
			ADDQ(r.step, at)
		}
	}
	LEAQ(Mem{Base: r.a, Index: r.step, Scale: 8}, r.a)
}

// totals writes what follows from the sum of the block, which is in x, and its
// scale, and moves to the next block.
func (r activationRow) totals(x, scale reg.VecPhysical) {
	total := GP32()
	VMOVD(x, total)
	VCVTDQ2PS(x, x)
	VMULSS(x, scale, x)
	VMOVSS(x, Mem{Base: r.sum})
	NEGL(total)
	SHLL(U8(3), total)
	MOVL(total, Mem{Base: r.init4})
	SHLL(U8(4), total)
	MOVL(total, Mem{Base: r.init8})
	ADDQ(U32(128), r.x)
	for _, p := range []reg.GPVirtual{r.s, r.init4, r.init8, r.sum} {
		ADDQ(r.step, p)
	}
}

// quantise writes quantiseAVX512: a row of a tile as int8 with a scale per 32.
func quantise() {
	r := quantiseText("AVX512")
	magnitude := z[31]
	fill(0x7fffffff, magnitude)
	fill(0x01010101, z[30])
	fill(0x42fe0000, z[29]) // 127
	fill(0x3c010204, z[28]) // 1/127
	fill(leastTop, z[27])
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
	VMOVSS(reg.X4, Mem{Base: r.s})
	VBROADCASTSS(reg.X5, z[5])
	for i, low := range []reg.VecPhysical{reg.X0, reg.X1} {
		VMULPS(z[i], z[5], z[i])
		VCVTPS2DQ(z[i], z[i])
		VPMOVSDB(z[i], low)
	}
	r.scatter(reg.X0, reg.X1, [8]int{0, 1, 2, 3, 4, 5, 6, 7})
	VINSERTI128(U8(1), reg.X1, reg.Y0, reg.Y0)
	VPXOR(reg.Y1, reg.Y1, reg.Y1)
	VPDPBUSD(y[0], y[30], y[1])
	VEXTRACTI128(U8(1), reg.Y1, reg.X2)
	VPADDD(reg.X1, reg.X2, reg.X1)
	fold(func(a, b, dst Op) { VPADDD(a, b, dst) }, reg.X1, reg.X2)
	r.totals(reg.X1, reg.X4)
	DECQ(r.n)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// leastTop is the bits of 2⁻¹⁰⁰: a block whose largest number is below counts
// as zero.
const leastTop = (127 - 100) << 23
