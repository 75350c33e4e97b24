package kernel

// Level is the instruction set in use.
type Level string

// The levels, lowest first.
const (
	Generic Level = "generic"
	AVX2    Level = "avx2"   // with FMA and F16C
	AVX512  Level = "avx512" // F, BW, DQ, VL and VNNI; products of bfloat16 where there is BF16
	AMX     Level = "amx"    // the same, with tiles of bfloat16
)

// Detect returns the highest level of this CPU that this build has.
func Detect() Level {
	levels := available()
	return levels[len(levels)-1]
}
