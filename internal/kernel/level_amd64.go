//go:build amd64 && !purego

package kernel

import "golang.org/x/sys/cpu"

// available returns the levels of this CPU, lowest first.
func available() []Level {
	levels := []Level{Generic}
	x := &cpu.X86
	if !x.HasAVX2 || !x.HasFMA || !x.HasF16C {
		return levels
	}
	levels = append(levels, AVX2)
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasAVX512VNNI {
		levels = append(levels, AVX512)
		if x.HasAVX512BF16 && tilesAllowed() {
			levels = append(levels, AMX)
		}
	}
	return levels
}

// productsOf returns the loops of one available level.
func productsOf(level Level) *products {
	switch level {
	case AMX:
		p := avx512Products(true)
		p.tiles = amxTiles()
		return p
	case AVX512:
		return avx512Products(cpu.X86.HasAVX512BF16)
	case AVX2:
		return avx2Products()
	}
	return genericProducts()
}
