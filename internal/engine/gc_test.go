package engine_test

import (
	"runtime"
	"testing"
	"time"

	"afina/internal/lora"
)

// whenGone closes gone when nobody refers to a any more.
func whenGone(a *lora.Adapter, gone chan struct{}) {
	runtime.AddCleanup(a, func(c chan struct{}) { close(c) }, gone)
}

// collected waits for gone, collecting garbage.
func collected(t *testing.T, gone chan struct{}) {
	t.Helper()
	for range 100 {
		runtime.GC()
		select {
		case <-gone:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Error("the adapter is still referred to")
}
