package gguf_test

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"afina/internal/fault"
	"afina/internal/gguf"
	"afina/internal/quant"
)

// write puts b into a file.
func write(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.gguf")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpenSound(t *testing.T) {
	for _, version := range []uint32{2, 3} {
		p := sound()
		p.version = version
		f, err := gguf.Open(write(t, append(p.bytes(), "trailing bytes"...)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		want := gguf.Metadata{
			"general.architecture": "llama",
			"a.u8":                 uint64(200), "a.i8": int64(-56), "a.u16": uint64(513), "a.i16": int64(-1),
			"a.u32": uint64(7), "a.i32": int64(-1), "a.f32": 1.5, "a.bool": true,
			"a.u64": uint64(1 << 40), "a.i64": int64(-1), "a.f64": 2.5,
			"b.strings": []string{"x", "", "größer"}, "b.i32": []int64{1, -1}, "b.u8": []uint64{1, 2, 3},
			"b.f32": []float64{0.5}, "b.bool": []bool{true, false}, "b.empty": []string{},
		}
		if diff := cmp.Diff(want, f.Metadata); diff != "" {
			t.Error(diff)
		}
		if !slices.Equal(f.Names, []string{"w", "v", "u"}) {
			t.Errorf("names %v", f.Names)
		}
		for name, want := range map[string]quant.Matrix{
			"w": {Type: quant.Q4_0, Rows: 3, Cols: 32}, "v": {Type: quant.F32, Rows: 1, Cols: 5}, "u": {Type: quant.F32, Rows: 12, Cols: 2},
		} {
			m, ok := f.Tensor(name)
			if !ok || m.Type != want.Type || m.Rows != want.Rows || m.Cols != want.Cols || len(m.Data) != m.Rows*m.Type.RowBytes(m.Cols) {
				t.Errorf("%s is %+v", name, m)
			}
		}
		if _, ok := f.Tensor("nothing"); ok {
			t.Error("a tensor that is not there was found")
		}
	}
}

// Nothing malformed is opened, takes long or takes memory.
func TestOpenMalformed(t *testing.T) {
	for _, c := range slices.Concat(malformedHeaders(), malformedKeys(), malformedTensors(), truncated()) {
		path := write(t, c.bytes)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		f, err := gguf.Open(path)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if err == nil {
			f.Close()
			t.Errorf("%s (%d bytes) was opened", c.name, len(c.bytes))
			continue
		}
		var fe *fault.Error
		if !errors.As(err, &fe) || fe.Kind != fault.Unprocessable {
			t.Errorf("%s: %v is not unprocessable", c.name, err)
		}
		if !strings.Contains(err.Error(), c.want) && len(c.bytes) > 0 || !strings.Contains(err.Error(), "test.gguf") {
			t.Errorf("%s: %q does not name the file or does not say %q", c.name, err, c.want)
		}
		if strings.Contains(err.Error(), filepath.Dir(path)) {
			t.Errorf("%s: %q tells where the file lies", c.name, err)
		}
		if took > 100*time.Millisecond {
			t.Errorf("%s took %v", c.name, took)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 4<<20 {
			t.Errorf("%s allocated %d bytes", c.name, grown)
		}
	}
}

// The metadata of a large file is bounded as well.
func TestMemoryIsBounded(t *testing.T) {
	p := sound()
	p.keys = [][]byte{key("k", 9, u32(0), u64(60<<20), make([]byte, 60<<20))} // would be 480 MB as uint64
	b := p.bytes()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := gguf.Decode("big", b)
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "MiB") {
		t.Errorf("got %v, want an error about memory", err)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
		t.Errorf("allocated %d bytes", grown)
	}
}

func TestOpenIrregular(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe.gguf")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	empty := write(t, nil)
	for _, path := range []string{dir, pipe, "/dev/zero", empty} {
		if _, err := gguf.Open(path); fault.KindOf(err) != fault.Unprocessable {
			t.Errorf("%s: got %v, want unprocessable", path, err)
		}
	}
	if _, err := gguf.Open(filepath.Join(dir, "none.gguf")); fault.KindOf(err) != fault.NotFound {
		t.Errorf("got %v, want not found", err)
	}
}

func TestUnchanged(t *testing.T) {
	path := write(t, sound().bytes())
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Unchanged(); err != nil {
		t.Fatal(err)
	}
	kept, err := f.Keep("v")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	if err := f.Unchanged(); fault.KindOf(err) != fault.Unprocessable {
		t.Errorf("got %v, want unprocessable", err)
	}
	x := make([]float32, 5)
	kept.Dequantize(x, 0) // would kill the process, were it in the mapping
}

// Pages that vanish while the header is read are an error, not a signal.
func TestCutWhileReading(t *testing.T) {
	p := sound()
	p.keys = append(p.keys, key("long", 8, text(strings.Repeat("x", 1<<16))))
	err := gguf.DecodeCut(write(t, p.bytes()), 1<<15)
	if fault.KindOf(err) != fault.Unprocessable || !strings.Contains(err.Error(), "changed") {
		t.Errorf("got %v, want an error about a changed file", err)
	}
}

// A file that is replaced stays as it was for who has it open.
func TestReplaced(t *testing.T) {
	path := write(t, sound().bytes())
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := gguf.Write(path, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := f.Release(); err != nil {
		t.Fatal(err)
	}
	m, _ := f.Tensor("w")
	m.Dequantize(make([]float32, 32), 2)
	if err := f.Unchanged(); err != nil {
		t.Error(err)
	}
}

func TestWriteThenOpen(t *testing.T) {
	pairs := []gguf.Pair{
		{Key: "u16", Value: uint16(3)}, {Key: "u32", Value: uint32(7)}, {Key: "i32", Value: int32(-7)}, {Key: "u64", Value: uint64(1 << 50)},
		{Key: "f32", Value: float32(0.5)}, {Key: "yes", Value: true}, {Key: "no", Value: false}, {Key: "s", Value: "ñ"},
		{Key: "strings", Value: []string{"a", "b c"}}, {Key: "ints", Value: []int32{1, -2}}, {Key: "floats", Value: []float32{1, 2}},
	}
	x := make([]float32, 3*64)
	for i := range x {
		x[i] = float32(i) / 7
	}
	m, err := quant.Quantize(quant.Q4_1, x, 3, 64)
	if err != nil {
		t.Fatal(err)
	}
	v, err := quant.Quantize(quant.F32, x[:5], 1, 5)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "out.gguf")
	tensors := []gguf.Named{{Name: "m", Matrix: m}, {Name: "v", Matrix: v, Vector: true}}
	if err := gguf.Write(path, pairs, tensors); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := gguf.Metadata{
		"u16": uint64(3), "u32": uint64(7), "i32": int64(-7), "u64": uint64(1 << 50), "f32": 0.5, "yes": true, "no": false, "s": "ñ",
		"strings": []string{"a", "b c"}, "ints": []int64{1, -2}, "floats": []float64{1, 2},
	}
	if diff := cmp.Diff(want, f.Metadata); diff != "" {
		t.Error(diff)
	}
	for _, n := range tensors {
		got, _ := f.Tensor(n.Name)
		if diff := cmp.Diff(n.Matrix, got); diff != "" {
			t.Errorf("%s: %s", n.Name, diff)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestWriteRefuses(t *testing.T) {
	one := quant.Matrix{Type: quant.F32, Rows: 1, Cols: 1, Data: make([]byte, 4)}
	for _, c := range []struct {
		name    string
		pairs   []gguf.Pair
		tensors []gguf.Named
	}{
		{"a value of another type", []gguf.Pair{{Key: "k", Value: 3}}, nil},
		{"no key", []gguf.Pair{{Key: "", Value: "v"}}, nil},
		{"a key twice", []gguf.Pair{{Key: "k", Value: "v"}, {Key: "k", Value: "v"}}, nil},
		{"a long name", nil, []gguf.Named{{Name: strings.Repeat("n", 64), Matrix: one}}},
		{"a name twice", nil, []gguf.Named{{Name: "n", Matrix: one}, {Name: "n", Matrix: one}}},
		{"too little data", nil, []gguf.Named{{Name: "n", Matrix: quant.Matrix{Type: quant.F32, Rows: 2, Cols: 1, Data: make([]byte, 4)}}}},
		{"a type that is none", nil, []gguf.Named{{Name: "n", Matrix: quant.Matrix{Type: 4, Rows: 1, Cols: 1}}}},
		{"a vector of two rows", nil, []gguf.Named{{Name: "n", Vector: true, Matrix: quant.Matrix{Type: quant.F32, Rows: 2, Cols: 1, Data: make([]byte, 8)}}}},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "old.gguf")
		if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := gguf.Write(path, c.pairs, c.tensors); err == nil {
			t.Errorf("%s: no error", c.name)
		}
		if b, _ := os.ReadFile(path); string(b) != "old" {
			t.Errorf("%s: the old file is gone", c.name)
		}
		if files, _ := os.ReadDir(dir); len(files) != 1 {
			t.Errorf("%s: files left behind: %v", c.name, files)
		}
	}
}

func TestMetadataGetters(t *testing.T) {
	m := gguf.Metadata{"u": uint64(5), "i": int64(-5), "big": uint64(math.MaxUint64), "f": 1.5, "b": true, "s": "x", "a": []string{"x"}}
	if v, ok := m.Int("u"); v != 5 || !ok {
		t.Error("u", v, ok)
	}
	if v, ok := m.Int("i"); v != -5 || !ok {
		t.Error("i", v, ok)
	}
	for _, key := range []string{"big", "f", "b", "s", "a", "none"} {
		if _, ok := m.Int(key); ok {
			t.Errorf("%s is an int", key)
		}
	}
	if v, ok := m.Float("f"); v != 1.5 || !ok {
		t.Error("f", v, ok)
	}
	if _, ok := m.Float("u"); ok {
		t.Error("an integer is a float")
	}
	if v, ok := m.Bool("b"); !v || !ok {
		t.Error("b", v, ok)
	}
	if v, ok := m.String("s"); v != "x" || !ok {
		t.Error("s", v, ok)
	}
	if v, ok := m.Strings("a"); !slices.Equal(v, []string{"x"}) || !ok {
		t.Error("a", v, ok)
	}
}

// Whatever is decoded, nothing panics, and every tensor lies inside the file.
func FuzzGGUF(f *testing.F) {
	f.Add(sound().bytes())
	for _, c := range slices.Concat(malformedHeaders(), malformedKeys(), malformedTensors()) {
		if len(c.bytes) < 1<<16 {
			f.Add(c.bytes)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := gguf.Decode("fuzz", b)
		if err != nil {
			if fault.KindOf(err) != fault.Unprocessable {
				t.Errorf("%v is not unprocessable", err)
			}
			return
		}
		for _, name := range file.Names {
			m, ok := file.Tensor(name)
			if !ok || len(m.Data) != m.Rows*m.Type.RowBytes(m.Cols) || len(m.Data) > 0 && !inside(b, m.Data) {
				t.Fatalf("tensor %q is %d×%d of %d bytes", name, m.Rows, m.Cols, len(m.Data))
			}
			m.Finite()
			m.Dequantize(make([]float32, m.Cols), m.Rows-1)
		}
	})
}

// inside reports whether part is a piece of whole.
func inside(whole, part []byte) bool {
	return bytes.Contains(whole, part) && cap(part) == len(part)
}
