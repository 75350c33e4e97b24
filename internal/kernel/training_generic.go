//go:build !amd64 || purego

package kernel

// training returns the loops of g's level: this build has one.
func (g *Gang) training() trainingKernels { return genericTraining() }
