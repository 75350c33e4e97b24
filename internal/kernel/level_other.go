//go:build !amd64 || purego

package kernel

// available returns the levels of this CPU, lowest first.
func available() []Level { return []Level{Generic} }

// productsOf returns the loops of one available level.
func productsOf(Level) *products { return genericProducts() }
