//go:build !amd64 || purego

package kernel

// rows returns the loops of g's level: this build has one.
func (g *Gang) rows() rowKernels { return genericRows() }
