package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// ahead is how far the weights are fetched in advance when few rows use them.
const ahead = 2048

// intTile writes zeroTile4, zeroTile8, minTile4 and minTile8 of height h.
//
// z0-11 hold the floats of the panel, z12-23 the integers of the block. Few rows
// split their products over several chains, to hide the latency.
func intTile(h, bits int, minima bool) {
	name, extra := fmt.Sprintf("zeroTile%dx%d", bits, h), "a *int8, s *float32, init *int32"
	if minima {
		name, extra = fmt.Sprintf("minTile%dx%d", bits, h), "a *int8, s, sum *float32"
	}
	scales := "ds *uint16"
	if minima {
		scales = "ds, ms *uint16"
	}
	TEXT(name, NOSPLIT, "func(np, nblk int, qs *byte, "+scales+", "+extra+", c *float32, ldc int)")
	Pragma("noescape")
	kind := "zeroTile"
	if minima {
		kind = "minTile"
	}
	Doc(fmt.Sprintf("%s is the %s of height %d on %d-bit weights: see %sGeneric.", name, kind, h, bits, kind))

	np, nblk, qs, ds, c, ldc := param("np"), param("nblk"), param("qs"), param("ds"), param("c"), param("ldc")
	var ms reg.GPVirtual
	if minima {
		ms = param("ms")
	}
	SHLQ(U8(2), ldc)
	a, s, e, n := GP64(), GP64(), GP64(), GP64()
	t := &ints{h: h, bits: bits, minima: minima, chains: max(1, min(4, 6/h)), a: a, qs: qs}
	if h == 1 {
		t.chains = 4
	}
	if bits == 4 {
		fill(0x0f0f0f0f, z[26])
	}
	Label("panel")
	Load(Param("a"), a)
	Load(Param("s"), s)
	if minima {
		Load(Param("sum"), e)
	} else {
		Load(Param("init"), e)
	}
	MOVQ(nblk, n)
	for m := range h {
		VPXORD(z[m], z[m], z[m])
	}
	Label("block")
	t.start(e)
	t.dots()
	t.scale(ds, ms, s, e)
	ADDQ(U32(uint32(64*bits)), qs)
	ADDQ(U32(32), ds)
	if minima {
		ADDQ(U32(32), ms)
	}
	ADDQ(U32(uint32(32*h)), a)
	ADDQ(U32(uint32(4*h)), s)
	ADDQ(U32(uint32(4*h)), e)
	DECQ(n)
	JNZ(LabelRef("block"))
	row := GP64()
	MOVQ(c, row)
	for m := range h {
		VMOVUPS(z[m], Mem{Base: row})
		if m+1 < h {
			ADDQ(ldc, row)
		}
	}
	ADDQ(U32(64), c)
	DECQ(np)
	JNZ(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// ints is an intTile being written.
type ints struct {
	h, bits, chains int
	minima          bool
	a, qs           reg.GPVirtual
}

// sum is the accumulator of row m for group g of four numbers.
func (t *ints) sum(m, g int) reg.VecPhysical { return z[12+m*t.chains+g%t.chains] }

// start sets the accumulators.
func (t *ints) start(init reg.GPVirtual) {
	for m := range t.h {
		for i := range t.chains {
			if i == 0 && !t.minima {
				VPBROADCASTD(Mem{Base: init, Disp: 4 * m}, t.sum(m, 0))
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
func (t *ints) scale(ds, ms, s, e reg.GPVirtual) {
	d, least, products := z[27], z[28], z[29:32]
	VCVTPH2PS(Mem{Base: ds}, d)
	if t.minima {
		VCVTPH2PS(Mem{Base: ms}, least)
	}
	for m := range t.h {
		p, sum := products[m%3], t.sum(m, 0)
		VCVTDQ2PS(sum, sum)
		VMULPS_BCST(Mem{Base: s, Disp: 4 * m}, d, p)
		VFMADD231PS(sum, p, z[m])
		if t.minima {
			VFMADD231PS_BCST(Mem{Base: e, Disp: 4 * m}, least, z[m])
		}
	}
}

// quantise writes quantiseAVX512: a row of a tile as int8 with a scale per 32.
func quantise() {
	TEXT("quantiseAVX512", NOSPLIT, "func(nblk, height int, x *float32, a *int8, s *float32, init4, init8 *int32, sum *float32)")
	Pragma("noescape")
	Doc("quantiseAVX512 is quantiseGeneric.")
	n, step, x, a := param("nblk"), param("height"), param("x"), param("a")
	s, init4, init8, sum := param("s"), param("init4"), param("init8"), param("sum")
	SHLQ(U8(2), step)
	magnitude, ones := z[31], y[30]
	fill(0x7fffffff, magnitude)
	fill(0x01010101, z[30])
	fill(0x42fe0000, z[29]) // 127
	fill(0x3c010204, z[28]) // 1/127
	fill(leastTop, z[27])
	Label("block")
	VMOVUPS(Mem{Base: x}, z[0])
	VMOVUPS(Mem{Base: x, Disp: 64}, z[1])
	VPANDD(z[0], magnitude, z[2])
	VPANDD(z[1], magnitude, z[3])
	VPMAXUD(z[2], z[3], z[2]) // as integers, so that a NaN is the largest
	VEXTRACTI64X4(U8(1), z[2], y[3])
	VPMAXUD(y[2], y[3], y[2])
	VEXTRACTI128(U8(1), reg.Y2, reg.X3)
	VPMAXUD(reg.X2, reg.X3, reg.X2)
	for _, order := range []uint8{0x4e, 0xb1} {
		VPSHUFD(U8(order), reg.X2, reg.X3)
		VPMAXUD(reg.X2, reg.X3, reg.X2)
	}
	VPCMPUD(U8(5), reg.X27, reg.X2, reg.K1) // top >= leastTop
	VMULPS_Z(reg.X28, reg.X2, reg.K1, reg.X4)
	VDIVPS_Z(reg.X2, reg.X29, reg.K1, reg.X5)
	VMOVSS(reg.X4, Mem{Base: s})
	VBROADCASTSS(reg.X5, z[5])
	VMULPS(z[0], z[5], z[0])
	VMULPS(z[1], z[5], z[1])
	VCVTPS2DQ(z[0], z[0])
	VCVTPS2DQ(z[1], z[1])
	VPMOVSDB(z[0], reg.X0)
	VPMOVSDB(z[1], reg.X1)
	at := GP64()
	MOVQ(a, at)
	for i := range 8 {
		VPEXTRD(U8(uint8(i%4)), []reg.VecPhysical{reg.X0, reg.X1}[i/4], Mem{Base: at})
		if i < 7 {
			ADDQ(step, at)
		}
	}
	LEAQ(Mem{Base: a, Index: step, Scale: 8}, a)
	VINSERTI128(U8(1), reg.X1, reg.Y0, reg.Y0)
	VPXOR(reg.Y1, reg.Y1, reg.Y1)
	VPDPBUSD(y[0], ones, y[1])
	VEXTRACTI128(U8(1), reg.Y1, reg.X2)
	VPADDD(reg.X1, reg.X2, reg.X1)
	for _, order := range []uint8{0x4e, 0xb1} {
		VPSHUFD(U8(order), reg.X1, reg.X2)
		VPADDD(reg.X1, reg.X2, reg.X1)
	}
	total := GP32()
	VMOVD(reg.X1, total)
	VCVTDQ2PS(reg.X1, reg.X1)
	VMULSS(reg.X1, reg.X4, reg.X1)
	VMOVSS(reg.X1, Mem{Base: sum})
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

// leastTop is the bits of 2⁻¹⁰⁰: a block whose largest number is below counts
// as zero.
const leastTop = (127 - 100) << 23
