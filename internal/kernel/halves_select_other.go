//go:build !amd64 || purego

package kernel

// halvesOf returns the loops of one available level: this build has one.
func halvesOf(Level) *halves { return genericHalves() }
