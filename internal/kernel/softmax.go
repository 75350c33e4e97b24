package kernel

import "math"

// The loops of attention in tiles. A tile of scores is rows of cols numbers, lds
// apart; row i sees the columns from[i] … to[i]-1, the others count as -Inf.

// softmaxTileGeneric does one step of the running softmax of each row: with
// m = max(top, scale·s of what it sees), s becomes exp(scale·s - m), sum becomes
// sum·shrink + Σ s and acc (rows, dim) is multiplied by shrink = exp(top - m);
// top becomes m.
func softmaxTileGeneric(rows, cols int, s []float32, lds int, from, to []int32, top, sum, acc []float32, dim int, scale float32) {
	for r := range rows {
		row, lo, hi := s[r*lds:][:cols], min(int(from[r]), cols), int(to[r])
		clear(row[:lo])
		clear(row[max(lo, hi):])
		if lo >= hi {
			continue
		}
		m := top[r]
		for j, x := range row[lo:hi] {
			row[lo+j] = x * scale
			m = max(m, x*scale)
		}
		total, shrink := float32(0), exp(top[r]-m)
		for j, x := range row[lo:hi] {
			x = exp(x - m)
			row[lo+j] = x
			total += x
		}
		top[r], sum[r] = m, sum[r]*shrink+total
		scaleGeneric(acc[r*dim:][:dim], acc[r*dim:], shrink)
	}
}

// softmaxBackTileGeneric: where a row sees, s becomes p = exp(scale·s - lse) and ds
// becomes scale·p·(ds - delta); elsewhere both become 0.
func softmaxBackTileGeneric(rows, cols int, s, ds []float32, ld int, from, to []int32, lse, delta []float32, scale float32) {
	for r := range rows {
		p, d, lo := s[r*ld:][:cols], ds[r*ld:][:cols], min(int(from[r]), cols)
		hi := max(lo, int(to[r]))
		for _, x := range [][]float32{p, d} {
			clear(x[:lo])
			clear(x[hi:])
		}
		for j := lo; j < hi; j++ {
			p[j] = exp(p[j]*scale - lse[r])
			d[j] = scale * (d[j] - delta[r]) * p[j]
		}
	}
}

func scaleGeneric(dst, x []float32, f float32) {
	for i := range dst {
		dst[i] = x[i] * f
	}
}

func dotGeneric(x, y []float32) float32 { return float32(dot64(x, y)) }

// exp is e^x in float32, as the assembly computes it: x = n·ln 2 + r, e^r by a
// polynomial, 2ⁿ by the exponent. It is off by less than 3e-7 of the result.
func exp(x float32) float32 {
	switch {
	case x > 89:
		return float32(math.Inf(1))
	case x < -87.3:
		if x != x {
			return x
		}
		return float32(math.Exp(float64(x)))
	}
	const magic = 3 << 22 // adding it rounds to an integer
	n := x*math.Log2E + magic - magic
	r := x - n*0.693359375 - n*(math.Ln2-0.693359375)
	p := float32(0.0013814596)
	p = p*r + 0.0083687175
	p = p*r + 0.04166839
	p = p*r + 0.16666521
	p = p*r + 0.49999994
	p = p*r + 1
	p = p*r + 1
	half := int32(n) / 2 // 2ⁿ in two steps: n may be 128
	return p * math.Float32frombits(uint32(half+127)<<23) * math.Float32frombits(uint32(int32(n)-half+127)<<23)
}
