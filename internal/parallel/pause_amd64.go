//go:build !purego

package parallel

// pause tells the core n times that its thread is only waiting; n > 0.
//
//go:noescape
func pause(n int)
