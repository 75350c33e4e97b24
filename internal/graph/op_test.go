package graph

import (
	"context"
	"strings"
	"testing"

	G "gorgonia.org/gorgonia"
)

// TestGuard: a panic in an op is an error, and the machine can be used again.
func TestGuard(t *testing.T) {
	r := &run{ctx: context.Background()}
	o := op{name: "broken", run: r}
	if _, err := o.guard(func() G.Value { panic("boom") }); err == nil || !strings.Contains(err.Error(), "broken panicked: boom") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r.ctx = ctx
	if _, err := o.guard(func() G.Value { t.Error("ran after the end"); return nil }); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

// TestDistinct: two inputs of one name would be one node to gorgonia.
func TestDistinct(t *testing.T) {
	g := G.NewGraph()
	G.NewScalar(g, G.Float32, G.WithName("a"))
	G.NewScalar(g, G.Float32, G.WithName("b"))
	if err := distinct(g); err != nil {
		t.Error(err)
	}
}
