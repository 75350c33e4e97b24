//go:build !amd64 || purego

package kernel

// attending returns the loops of attention in bfloat16: this build has none.
func (g *Gang) attending() *attendLoops { return nil }
