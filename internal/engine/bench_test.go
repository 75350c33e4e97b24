package engine_test

import (
	"fmt"
	"sync"
	"testing"

	"afina/internal/engine"
	"afina/internal/forward"
	"afina/internal/kernel"
	"afina/internal/model"
	"afina/internal/modeltest"
	"afina/internal/parallel"
	"afina/internal/sampling"
)

// BenchmarkAnswers writes 64 tokens per stream after a prompt of 128, drawn as
// the service does by default.
func BenchmarkAnswers(b *testing.B) {
	pool := parallel.New(0)
	defer pool.Close()
	gang, err := kernel.NewGang(pool, "")
	if err != nil {
		b.Fatal(err)
	}
	m, err := model.Open(modeltest.Real(b), gang)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	for _, streams := range []int{1, 8} {
		b.Run(fmt.Sprint("streams=", streams), func(b *testing.B) {
			e := engine.New(forward.New(m, gang, kernel.Fast, 8, 512), engine.Options{})
			stop := start(b, e)
			defer stop()
			seed := int32(0)
			for b.Loop() {
				var wg sync.WaitGroup
				for range streams {
					seed++
					r := engine.Request{
						Prompt: prompt(128, seed), Limit: 64,
						Sampling: sampling.Options{Temperature: 0.3, TopP: 0.9, Seed: uint64(seed)},
						Never:    func(id int32) bool { return m.Tokens.Unused(id) },
					}
					wg.Go(func() {
						if _, _, err := all(e, r); err != nil {
							b.Error(err)
						}
					})
				}
				wg.Wait()
			}
			b.ReportMetric(float64(64*streams*b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}
