//go:build amd64 && !purego

package kernel

// Peaks are loops on registers only, for this machine's highest level.
func Peaks() map[string]Peak {
	if Detect() != AVX512 && Detect() != AMX {
		return nil
	}
	peaks := map[string]Peak{
		"FMA":  {peakFMA512, 24 * 2 * 16},
		"BF16": {peakBF16512, 24 * 4 * 16},
		"VNNI": {peakVNNI512, 24 * 8 * 16},
	}
	if Detect() == AMX { // VDPBF16PS is no match for tiles
		peaks["BF16"] = Peak{func(n int) { peakTiles(n, &blockConfigs[tileRows][0]) }, 4 * 16 * 16 * 32 * 2}
	}
	return peaks
}

// Variants are gangs of levels that this machine would not choose.
func Variants(g *Gang) map[string]*Gang {
	if g.level != AVX512 {
		return nil
	}
	plain := *g
	plain.kit = avx512Products(false)
	return map[string]*Gang{"avx512 without BF16": &plain}
}
