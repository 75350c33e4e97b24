package forward_test

import (
	"fmt"
	"testing"

	"afina/internal/forward"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/modeltest"
)

// BenchmarkPrompt reads a prompt of 512 tokens of SmolLM2 in chunks of 256.
func BenchmarkPrompt(b *testing.B) {
	gang := newGang(b)
	m := open(b, modeltest.Real(b), gang)
	pass := forward.New(m, gang, kernel.Fast, 1, 512)
	tokens := ids(512, 1)
	for b.Loop() {
		pass.Reset(0, 0)
		for lo := 0; lo < len(tokens); lo += 256 {
			if _, err := pass.Run(rows(tokens[lo:lo+256], 0, lo, nil, false)); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(len(tokens)*b.N)/b.Elapsed().Seconds(), "tokens/s")
}

// BenchmarkDecode writes one token per sequence and pass, 256 positions in.
func BenchmarkDecode(b *testing.B) {
	for _, c := range []struct {
		streams, adapters int
	}{{1, 0}, {1, 1}, {4, 0}, {16, 0}, {16, 1}, {16, 4}, {16, 16}} {
		b.Run(fmt.Sprintf("streams=%d/adapters=%d", c.streams, c.adapters), func(b *testing.B) {
			gang := newGang(b)
			m := open(b, modeltest.Real(b), gang)
			adapters := []*lora.Adapter{nil}
			for i := range c.adapters {
				a, err := lora.New(m, 16, 32, nil, uint64(i))
				if err != nil {
					b.Fatal(err)
				}
				for _, pairs := range a.Pairs {
					for _, pair := range pairs {
						for k := range pair.B {
							pair.B[k] = float32(k%7-3) / 1000
						}
					}
				}
				adapters = append(adapters[:i], a, nil)
			}
			pass := forward.New(m, gang, kernel.Fast, c.streams, 512)
			batch := make([]forward.Row, c.streams)
			for slot := range c.streams {
				a := adapters[slot%max(1, len(adapters)-1)]
				if _, err := pass.Run(rows(ids(256, uint64(slot)), slot, 0, a, false)); err != nil {
					b.Fatal(err)
				}
				batch[slot] = forward.Row{Token: 5, Slot: slot, Pos: 256, Adapter: a, Logits: true}
			}
			for b.Loop() {
				for slot := range c.streams {
					pass.Reset(slot, 256)
				}
				if _, err := pass.Run(batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(c.streams*b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}
