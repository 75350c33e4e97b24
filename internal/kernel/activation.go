package kernel

import "math"

// SwiGLU computes dst = silu(gate)·up (Shazeer 2020); dst may be gate or up.
func (g *Gang) SwiGLU(dst, gate, up []float32) {
	mustHold("dst of SwiGLU", len(dst), len(gate))
	mustHold("up of SwiGLU", len(up), len(gate))
	f := g.rows().swiGLU
	g.span(len(gate), grain, func(lo, hi int) { f(dst[lo:hi], gate[lo:hi], up[lo:hi]) })
}

func swiGLUGeneric(dst, gate, up []float32) {
	for i, v := range gate {
		dst[i] = v * sigmoid(v) * up[i]
	}
}

// SwiGLUBack writes the gradients of SwiGLU; dgate may be gate and dup may be up.
func (g *Gang) SwiGLUBack(dgate, dup, dy, gate, up []float32) {
	mustHold("dgate of SwiGLUBack", len(dgate), len(gate))
	mustHold("dup of SwiGLUBack", len(dup), len(gate))
	mustHold("dy of SwiGLUBack", len(dy), len(gate))
	mustHold("up of SwiGLUBack", len(up), len(gate))
	f := g.rows().swiGLUBack
	g.span(len(gate), grain, func(lo, hi int) {
		f(dgate[lo:hi], dup[lo:hi], dy[lo:hi], gate[lo:hi], up[lo:hi])
	})
}

// swiGLUBackGeneric: silu(x) = x·σ(x), silu'(x) = σ(x)·(1 + x·(1 − σ(x))).
func swiGLUBackGeneric(dgate, dup, dy, gate, up []float32) {
	for i, v := range gate {
		s := sigmoid(v)
		d := dy[i]
		dg := d * up[i] * s * (1 + v*(1-s))
		dup[i] = d * v * s
		dgate[i] = dg
	}
}

// GELU computes dst = gelu(x), the tanh form; dst may be x.
func (g *Gang) GELU(dst, x []float32) {
	mustHold("dst of GELU", len(dst), len(x))
	f := g.rows().gelu
	g.span(len(x), grain, func(lo, hi int) { f(dst[lo:hi], x[lo:hi]) })
}

// The tanh form of GELU (Hendrycks & Gimpel 2016) is x·σ(2u) with
// u = √(2/π)·(x + 0.044715·x³), since (1 + tanh u)/2 = σ(2u).
const (
	geluScale = 2 * 0.7978845608028654 // 2·√(2/π)
	geluCube  = 0.044715
)

func geluGeneric(dst, x []float32) {
	for i, v := range x {
		dst[i] = v * sigmoid(geluScale*v*(1+geluCube*v*v))
	}
}

// GELUBack writes dx = dy·gelu'(x); dx may be dy.
func (g *Gang) GELUBack(dx, dy, x []float32) {
	mustHold("dx of GELUBack", len(dx), len(x))
	mustHold("dy of GELUBack", len(dy), len(x))
	f := g.rows().geluBack
	g.span(len(x), grain, func(lo, hi int) { f(dx[lo:hi], dy[lo:hi], x[lo:hi]) })
}

// geluBackGeneric: d/dx x·σ(z) = σ(z) + x·σ(z)·(1 − σ(z))·z'(x).
func geluBackGeneric(dx, dy, x []float32) {
	for i, v := range x {
		s := sigmoid(geluScale * v * (1 + geluCube*v*v))
		c := s * (1 - s) // first: it is 0 where the square of v overflows
		if c == 0 {
			dx[i] = dy[i] * s
			continue
		}
		dx[i] = dy[i] * (s + v*c*geluScale*(1+3*geluCube*v*v))
	}
}

func sigmoid(x float32) float32 {
	return float32(1 / (1 + math.Exp(-float64(x))))
}
