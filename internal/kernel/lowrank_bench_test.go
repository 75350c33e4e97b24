package kernel_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"afina/internal/kernel"
	"afina/internal/parallel"
	"afina/internal/quant"
)

// BenchmarkMatMuls is the linear layers of one pass of SmolLM2 over 16 rows, each
// with one of so many adapters of rank 16.
func BenchmarkMatMuls(b *testing.B) {
	pool := parallel.New(0)
	defer pool.Close()
	g, err := kernel.NewGang(pool, "")
	if err != nil {
		b.Fatal(err)
	}
	const rows, layers, rank = 16, 30, 16
	groups := []struct {
		in   int
		outs []int
	}{{576, []int{576, 192, 192}}, {576, []int{576}}, {576, []int{1536, 1536}}, {1536, []int{576}}}
	r := rand.New(rand.NewPCG(1, 2))
	numbers := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		return x
	}
	var weights []*kernel.Matrix
	for range layers {
		for _, group := range groups {
			for _, out := range group.outs {
				m, err := quant.Quantize(quant.Q4_0, numbers(out*group.in), out, group.in)
				if err != nil {
					b.Fatal(err)
				}
				w, err := g.Pack(m)
				if err != nil {
					b.Fatal(err)
				}
				weights = append(weights, w)
			}
		}
	}
	x, dst := numbers(rows*1536), make([]float32, 3*rows*1536)
	var factors [rows][]*kernel.Factors
	for n := range factors {
		for range layers {
			for _, group := range groups {
				var pairs []kernel.Pair
				for _, out := range group.outs {
					pairs = append(pairs, kernel.Pair{In: group.in, Out: out, A: numbers(rank * group.in), B: numbers(rank * out)})
				}
				f, err := g.NewFactors(rank, 2, kernel.Fast, pairs...)
				if err != nil {
					b.Fatal(err)
				}
				factors[n] = append(factors[n], f...)
			}
		}
	}
	for _, adapters := range []int{0, 1, 4, 16} {
		b.Run(fmt.Sprint("adapters=", adapters), func(b *testing.B) {
			var op kernel.Operand
			for b.Loop() {
				at := 0
				for range layers {
					for _, group := range groups {
						g.Prepare(&op, x, rows, group.in, kernel.Fast)
						var products []kernel.Product
						for i, out := range group.outs {
							p := kernel.Product{Dst: dst[i*rows*1536:][:rows*out], W: weights[at]}
							for a := range adapters {
								p.Low = append(p.Low, kernel.LowRank{Lo: a * rows / adapters, Hi: (a + 1) * rows / adapters, Factors: factors[a][at]})
							}
							products = append(products, p)
							at++
						}
						g.MatMuls(&op, products...)
					}
				}
			}
		})
	}
}
