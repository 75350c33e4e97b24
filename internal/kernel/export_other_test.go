//go:build !amd64 || purego

package kernel

// Peaks are loops on registers only; this build has none.
func Peaks() map[string]Peak { return nil }

// Variants are gangs of levels that this machine would not choose.
func Variants(*Gang) map[string]*Gang { return nil }
