//go:build !amd64 || purego

package parallel

import "sync/atomic"

// pause passes a little time; n > 0.
func pause(n int) {
	var x atomic.Uint32
	for range 8 * n {
		x.Load()
	}
}
