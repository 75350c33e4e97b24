package engine_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"afina/internal/engine"
	"afina/internal/forward"
	"afina/internal/kernel"
	"afina/internal/model"
	"afina/internal/modeltest"
	"afina/internal/parallel"
	"afina/internal/sampling"
)

// BenchmarkAnswers writes 64 tokens per stream after a prompt of 177, drawn as
// the service does by default, all streams at once: tokens/s count what is
// written in the whole time; TTFT is the 95th percentile of the time to the first
// token.
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
	for _, streams := range []int{1, 4, 8, 16} {
		b.Run(fmt.Sprint("streams=", streams), func(b *testing.B) {
			e := engine.New(forward.New(m, gang, kernel.Fast, 16, 512), engine.Options{})
			stop := start(b, e)
			defer stop()
			seed := int32(0)
			var mu sync.Mutex
			var first []float64
			for b.Loop() {
				var wg sync.WaitGroup
				for range streams {
					seed++
					r := engine.Request{
						Prompt: prompt(177, seed), Limit: 64,
						Sampling: sampling.Options{Temperature: 0.3, TopP: 0.9, Seed: uint64(seed)},
						Never:    func(id int32) bool { return m.Tokens.Unused(id) },
					}
					began := time.Now()
					wg.Go(func() {
						n := 0
						for token, err := range e.Generate(context.Background(), r) {
							if err != nil {
								b.Error(err)
							}
							if n++; n == 1 {
								mu.Lock()
								first = append(first, token.At.Sub(began).Seconds())
								mu.Unlock()
							}
						}
					})
				}
				wg.Wait()
			}
			slices.Sort(first)
			b.ReportMetric(first[len(first)*95/100], "s-TTFT")
			b.ReportMetric(float64(64*streams*b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}
