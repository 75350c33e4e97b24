package assistant

import (
	"context"
	"testing"

	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/parallel"
)

// only is a catalog of one model, whatever it is called.
type only struct{ m *model.Model }

func (o only) Resolve(string) (*model.Model, *lora.Adapter, error) { return o.m, nil, nil }

// serve runs an assistant over one model until the test ends.
func serve(t *testing.T, m *model.Model) *Assistant {
	t.Helper()
	pool := parallel.New(2)
	gang, err := kernel.NewGang(pool, "")
	if err != nil {
		t.Fatal(err)
	}
	a := New(only{m}, gang, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		pool.Close()
	})
	return a
}
