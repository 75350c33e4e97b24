package kernel

import (
	"fmt"
	"math"
	"math/bits"
)

// grain is how many numbers one chunk of an elementwise loop holds: 10 to 20 µs
// of work with AVX-512. Chunk borders depend on the shape only.
const grain = 1 << 15

// span runs f over [0, n) in pieces of size, in any order and on any core.
func (g *Gang) span(n, size int, f func(lo, hi int)) {
	if n <= size {
		if n > 0 {
			f(0, n)
		}
		return
	}
	g.pool.Run((n+size-1)/size, func(c int) {
		f(c*size, min(n, (c+1)*size))
	})
}

// spanRows runs f over n rows of cols numbers in pieces of about grain numbers.
func (g *Gang) spanRows(n, cols int, f func(lo, hi int)) {
	g.span(n, max(1, grain/max(1, cols)), f)
}

// mustHold panics when a slice is shorter than its shape says.
func mustHold(what string, have, want int) {
	if have < want {
		panic(fmt.Sprintf("kernel: %s has %d numbers, its shape needs %d", what, have, want))
	}
}

// Add computes dst += x.
func (g *Gang) Add(dst, x []float32) {
	mustHold("dst of Add", len(dst), len(x))
	add := g.rows().add
	g.span(len(x), grain, func(lo, hi int) { add(dst[lo:hi], x[lo:hi]) })
}

func addGeneric(dst, x []float32) {
	for i, v := range x {
		dst[i] += v
	}
}

// AddRows adds bias (cols) to each of the n rows of x.
func (g *Gang) AddRows(x []float32, n, cols int, bias []float32) {
	mustHold("x of AddRows", len(x), n*cols)
	mustHold("bias of AddRows", len(bias), cols)
	add := g.rows().add
	g.spanRows(n, cols, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			add(x[i*cols:(i+1)*cols], bias[:cols])
		}
	})
}

// Dropout writes dst = x masked and scaled by 1/(1-p). The mask depends only on
// (seed, index): the same call gives the same mask, so it is never stored; p
// counts in steps of 2⁻¹⁶. Linear, so its own backward: Dropout of the gradient with the same seed.
// dst may be x. A number that is dropped is multiplied by zero, so that NaN and
// Inf still show.
func (g *Gang) Dropout(dst, x []float32, p float32, seed uint64) {
	mustHold("dst of Dropout", len(dst), len(x))
	if !(p >= 0 && p < 1) {
		panic(fmt.Sprintf("kernel: dropout probability %v is not in [0, 1)", p))
	}
	drop := g.rows().dropout
	scale, threshold := 1/(1-p), uint32(math.Round(float64(p)*(1<<16)))<<16
	g.span(len(x), grain, func(lo, hi int) {
		for lo < hi { // the key changes every 2³² numbers
			end := min(hi, (lo>>32+1)<<32)
			k0, k1 := dropoutKeys(seed, uint64(lo)>>32)
			drop(dst[lo:end], x[lo:end], uint32(lo), k0, k1, threshold, scale)
			lo = end
		}
	})
}

// dropoutKeys spreads seed and the high half of the index over two words by
// the finaliser of SplitMix64 (Steele et al. 2014).
func dropoutKeys(seed, high uint64) (k0, k1 uint32) {
	z := seed + bits.RotateLeft64(high, 32) + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return uint32(z), uint32(z >> 32)
}

// mix32 is a 32-bit mixer with the constants that Wellons found (lowbias32).
func mix32(x uint32) uint32 {
	x = (x ^ x>>16) * 0x7feb352d
	x = (x ^ x>>15) * 0x846ca68b
	return x ^ x>>16
}

// dropoutGeneric masks the numbers of x, of which the first has the index.
func dropoutGeneric(dst, x []float32, index, k0, k1, threshold uint32, scale float32) {
	for i, v := range x {
		dst[i] = v * dropoutFactor(index+uint32(i), k0, k1, threshold, scale)
	}
}

// dropoutFactor is 0 for numbers whose 16 bits are below those on top of threshold,
// else scale. A word of random bits serves two numbers, 16 apart: word w of a block
// of 32 is two rounds of the mixer over its number, with a key before each round.
func dropoutFactor(index, k0, k1, threshold uint32, scale float32) float32 {
	bits := mix32(mix32(index/32*16+index%16+k0) ^ k1)
	if index%32 < 16 {
		bits <<= 16
	}
	if bits < threshold {
		return 0
	}
	return scale
}
