package quant_test

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"testing"

	"afina/internal/quant"
)

var all = []quant.Type{
	quant.F32, quant.F16, quant.BF16, quant.Q4_0, quant.Q4_1, quant.Q5_0, quant.Q5_1, quant.Q8_0,
	quant.Q2_K, quant.Q3_K, quant.Q4_K, quant.Q5_K, quant.Q6_K, quant.IQ4_NL, quant.IQ4_XS,
}

type sample struct{ Type, Block, Floats string }

func (s sample) decode(t *testing.T) (typ quant.Type, block []byte, floats []float32) {
	t.Helper()
	block, err := hex.DecodeString(s.Block)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := hex.DecodeString(s.Floats)
	if err != nil {
		t.Fatal(err)
	}
	floats = make([]float32, len(raw)/4)
	for i := range floats {
		floats[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	for _, typ := range all {
		if typ.String() == s.Type {
			return typ, block, floats
		}
	}
	t.Fatalf("no type is called %q", s.Type)
	return 0, nil, nil
}

func golden(t *testing.T) (g struct{ Unpack, Pack []sample }) {
	t.Helper()
	b, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// Every format unpacks to the very bits of libggml.
func TestUnpackGolden(t *testing.T) {
	seen := map[quant.Type]bool{}
	for i, s := range golden(t).Unpack {
		typ, block, want := s.decode(t)
		seen[typ] = true
		if len(want) != typ.BlockSize() || len(block) != typ.BlockBytes() {
			t.Fatalf("%s: block of %d numbers in %d bytes, want %d in %d", typ, typ.BlockSize(), typ.BlockBytes(), len(want), len(block))
		}
		m := quant.Matrix{Type: typ, Rows: 2, Cols: 2 * len(want), Data: repeat(block, 4)}
		got := make([]float32, m.Cols)
		m.Dequantize(got, 1)
		for j := range got {
			if math.Float32bits(got[j]) != math.Float32bits(want[j%len(want)]) {
				t.Fatalf("sample %d, %s: number %d is %v, want %v", i, typ, j, got[j], want[j%len(want)])
			}
		}
	}
	if len(seen) != 12 {
		t.Errorf("golden file covers %d block formats, want 12", len(seen))
	}
}

// The reference quantisers write the very bytes of libggml.
func TestPackGolden(t *testing.T) {
	for i, s := range golden(t).Pack {
		typ, want, floats := s.decode(t)
		m, err := quant.Quantize(typ, floats, 1, len(floats))
		if err != nil {
			t.Fatal(err)
		}
		if hex.EncodeToString(m.Data) != hex.EncodeToString(want) {
			t.Errorf("sample %d, %s: %x, want %x", i, typ, m.Data, want)
		}
	}
}

func TestFloatTypesRoundTrip(t *testing.T) {
	for h := range 1 << 16 {
		h := uint16(h)
		if f := quant.F16ToF32(h); f == f {
			if got := quant.F32ToF16(f); got != h {
				t.Fatalf("half %04x widens to %v and narrows to %04x", h, f, got)
			}
		} else if got := quant.F32ToF16(f); got&0x7e00 != 0x7e00 {
			t.Fatalf("NaN %04x narrows to %04x, which is not quiet", h, got)
		}
		if f := quant.BF16ToF32(h); f == f {
			if got := quant.F32ToBF16(f); got != h {
				t.Fatalf("bfloat16 %04x widens to %v and narrows to %04x", h, f, got)
			}
		} else if got := quant.F32ToBF16(f); got&0x7fc0 != 0x7fc0 {
			t.Fatalf("NaN %04x narrows to %04x, which is not quiet", h, got)
		}
	}
}

// Between two neighbours a number goes to the nearer, and to the even one from
// the middle.
func TestNarrowingRoundsToNearestEven(t *testing.T) {
	for h := uint16(0); h < 0x7bff; h++ {
		lo, hi := float64(quant.F16ToF32(h)), float64(quant.F16ToF32(h+1))
		mid := float32((lo + hi) / 2)
		even := h + h&1
		if got := quant.F32ToF16(mid); got != even {
			t.Fatalf("middle of halves %04x and %04x gives %04x, want %04x", h, h+1, got, even)
		}
		if got := quant.F32ToF16(math.Nextafter32(mid, 0)); got != h {
			t.Fatalf("below the middle of %04x and %04x: %04x", h, h+1, got)
		}
		if got := quant.F32ToF16(-math.Nextafter32(mid, 1e9)); got != (h+1)|0x8000 {
			t.Fatalf("above the middle of %04x and %04x, negative: %04x", h, h+1, got)
		}
	}
	for _, c := range []struct {
		in   float32
		want uint16
	}{{65519, 0x7bff}, {65520, 0x7c00}, {float32(math.Inf(-1)), 0xfc00}, {1e-30, 0}} {
		if got := quant.F32ToF16(c.in); got != c.want {
			t.Errorf("F32ToF16(%v) = %04x, want %04x", c.in, got, c.want)
		}
	}
	for bits, want := range map[uint32]uint16{0x3f808000: 0x3f80, 0x3f818000: 0x3f82, 0x3f808001: 0x3f81, 0x7f7fffff: 0x7f80} {
		if got := quant.F32ToBF16(math.Float32frombits(bits)); got != want {
			t.Errorf("F32ToBF16(%08x) = %04x, want %04x", bits, got, want)
		}
	}
}

func TestFinite(t *testing.T) {
	for _, typ := range all {
		cols := 2 * typ.BlockSize()
		m := quant.Matrix{Type: typ, Rows: 3, Cols: cols, Data: make([]byte, 3*typ.RowBytes(cols))}
		if !m.Finite() {
			t.Errorf("%s: zeros are not finite", typ)
		}
		last := m.Data[len(m.Data)-typ.BlockBytes():]
		for _, o := range scaleBytes(typ) { // the high byte of a number or scale
			for _, bad := range []byte{0x7f, 0xff} {
				copy(last[o-1:], []byte{0x80, bad})
				if typ.BlockSize() > 1 || typ == quant.F16 {
					copy(last[o-1:], []byte{0, bad & 0xfc})
				}
				if m.Finite() {
					t.Errorf("%s: infinity at byte %d is called finite", typ, o)
				}
			}
			last[o-1], last[o] = 0xff, 0x7b // the largest half
			if !m.Finite() {
				t.Errorf("%s: a large number at byte %d is called infinite", typ, o)
			}
		}
	}
}

// scaleBytes is where the high bytes of the f16 scales lie.
func scaleBytes(t quant.Type) []int {
	switch t {
	case quant.Q4_1, quant.Q5_1, quant.Q4_K, quant.Q5_K:
		return []int{1, 3}
	case quant.Q2_K:
		return []int{81, 83}
	case quant.Q3_K:
		return []int{109}
	case quant.Q6_K:
		return []int{209}
	case quant.F32:
		return []int{3}
	}
	return []int{1}
}

func TestQuantizeRefuses(t *testing.T) {
	nan := make([]float32, 32)
	nan[3] = float32(math.NaN())
	huge := make([]float32, 32)
	huge[3] = 1e30
	for _, c := range []struct {
		name string
		typ  quant.Type
		x    []float32
		cols int
	}{
		{"a K type", quant.Q4_K, make([]float32, 256), 256},
		{"an unknown type", 4, make([]float32, 32), 32},
		{"half a block", quant.Q8_0, make([]float32, 16), 16},
		{"a wrong length", quant.F32, make([]float32, 16), 17},
		{"NaN", quant.Q8_0, nan, 32},
		{"a scale beyond f16", quant.Q4_1, huge, 32},
	} {
		if _, err := quant.Quantize(c.typ, c.x, 1, c.cols); err == nil {
			t.Errorf("%s: no error", c.name)
		}
	}
}

func TestTypes(t *testing.T) {
	for id := range uint32(300) {
		known := false
		for _, typ := range all {
			known = known || typ == quant.Type(id)
		}
		if got := quant.Type(id).Known(); got != known {
			t.Errorf("type %d known: %v, want %v", id, got, known)
		}
	}
	if quant.Type(math.MaxUint32).Known() {
		t.Error("type 2^32-1 is known")
	}
	if got := quant.Q6_K.RowBytes(512); got != 420 {
		t.Errorf("a row of 512 in Q6_K takes %d bytes, want 420", got)
	}
}

func BenchmarkDequantize(b *testing.B) {
	for _, typ := range all {
		b.Run(typ.String(), func(b *testing.B) {
			m := quant.Matrix{Type: typ, Rows: 1, Cols: 2048, Data: make([]byte, typ.RowBytes(2048))}
			dst := make([]float32, m.Cols)
			b.SetBytes(int64(4 * m.Cols))
			for b.Loop() {
				m.Dequantize(dst, 0)
			}
		})
	}
}

func repeat(b []byte, n int) (out []byte) {
	for range n {
		out = append(out, b...)
	}
	return out
}
