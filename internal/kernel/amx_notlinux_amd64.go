//go:build !linux && !purego

package kernel

// tilesAllowed is false: only Linux is asked for tiles here.
func tilesAllowed() bool { return false }
