package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"strings"
	"unicode/utf8"

	"afina/internal/fault"
	"afina/internal/quant"
)

// Limits beyond which a file is refused.
const (
	maxKey     = 65535     // bytes, from the specification
	maxName    = 63        // bytes of a tensor's name, as ggml reads
	maxDims    = 4         //
	maxDim     = 1<<31 - 1 // numbers along one dimension
	maxAlign   = 1 << 20   // bytes
	maxVersion = 3
	// maxMemory bounds what the metadata and the list of tensors take. The
	// largest vocabularies (262,144 tokens) take about 25 MB.
	maxMemory = 48 << 20
)

// The value types of the key-value section.
const (
	typeU8 = iota
	typeI8
	typeU16
	typeI16
	typeU32
	typeI32
	typeF32
	typeBool
	typeString
	typeArray
	typeU64
	typeI64
	typeF64
)

// widths are the bytes of a value of each type; strings and arrays have none.
var widths = [...]int{1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8}

// Decode checks b, which is a whole GGUF file, and returns a File whose tensors
// are views into it. name is what errors call it.
func Decode(name string, b []byte) (*File, error) {
	r := &reader{b: b, left: maxMemory}
	f := &File{Path: name, size: int64(len(b)), Metadata: Metadata{}, tensors: map[string]quant.Matrix{}}
	tensors, pairs := r.header()
	for i := uint64(0); i < pairs && r.err == nil; i++ {
		r.pair(f.Metadata)
	}
	infos := r.infos(tensors)
	r.place(f, infos)
	if r.err != nil {
		return nil, fault.New(fault.Unprocessable, "%s is not a sound GGUF file: %w", name, r.err)
	}
	return f, nil
}

// reader walks the header of a file. The first failure stays in err; after it
// every method returns zero values.
type reader struct {
	b    []byte
	at   int // bytes read
	left int // bytes of memory that may still be taken
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

// take returns the next n bytes, or nil at the end of the file.
func (r *reader) take(n uint64, what string) []byte {
	if r.err != nil {
		return nil
	}
	if n > uint64(len(r.b)-r.at) {
		r.fail("it ends inside %s (%d bytes needed, %d left)", what, n, len(r.b)-r.at)
		return nil
	}
	b := r.b[r.at : r.at+int(n)]
	r.at += int(n)
	return b
}

func (r *reader) u32(what string) uint32 {
	if b := r.take(4, what); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64(what string) uint64 {
	if b := r.take(8, what); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// spend takes n bytes of memory out of the budget.
func (r *reader) spend(n uint64) bool {
	if r.err == nil && n > uint64(r.left) {
		r.fail("its metadata takes more than %d MiB", maxMemory>>20)
	}
	if r.err != nil {
		return false
	}
	r.left -= int(n)
	return true
}

func (r *reader) text(what string, limit uint64) string {
	n := r.u64(what)
	if n > limit {
		r.fail("%s is %d bytes long, more than %d", what, n, limit)
	}
	b := r.take(n, what)
	if !r.spend(n + 16) {
		return ""
	}
	return string(b)
}

// name reads a key or a tensor's name.
func (r *reader) name(what string, limit uint64) string {
	s := r.text(what, limit)
	switch {
	case r.err != nil:
	case s == "":
		r.fail("%s is empty", what)
	case !utf8.ValidString(s) || strings.ContainsRune(s, 0):
		r.fail("%s is not text: %q", what, s)
	}
	return s
}

func (r *reader) header() (tensors, pairs uint64) {
	if magic := r.take(4, "the magic number"); magic != nil && string(magic) != "GGUF" {
		r.fail("it begins with % x, not with GGUF", magic)
	}
	switch v := r.u32("the version"); {
	case r.err != nil:
	case v&0xffff == 0 && v != 0:
		r.fail("it is big-endian, which is not supported")
	case v < 2 || v > maxVersion:
		r.fail("it has version %d; versions 2 and 3 are supported", v)
	}
	tensors, pairs = r.u64("the number of tensors"), r.u64("the number of keys")
	rest := uint64(len(r.b) - r.at)
	// The smallest key with its value takes 14 bytes, the smallest tensor 33.
	if r.err == nil && (pairs > rest/14 || tensors > rest/33) {
		r.fail("it claims %d keys and %d tensors in %d bytes", pairs, tensors, rest)
	}
	return tensors, pairs
}

// pair reads one key and its value.
func (r *reader) pair(m Metadata) {
	key := r.name("a key", maxKey)
	t := r.u32("the type of " + key)
	if r.err != nil {
		return
	}
	if _, twice := m[key]; twice {
		r.fail("key %q occurs twice", key)
		return
	}
	var v any
	switch t {
	case typeString:
		v = r.text(key, maxMemory)
	case typeArray:
		v = r.array(key)
	default:
		v = r.scalar(key, t)
	}
	if key == "general.alignment" && t != typeU32 {
		r.fail("general.alignment is not a u32")
	}
	if r.spend(96) { // the map's own cost, roughly
		m[key] = v
	}
}

func (r *reader) scalar(key string, t uint32) any {
	if t >= uint32(len(widths)) {
		r.fail("key %q has unknown type %d", key, t)
		return nil
	}
	b := r.take(uint64(widths[t]), key)
	if b == nil {
		return nil
	}
	switch t {
	case typeBool:
		if b[0] > 1 {
			r.fail("key %q is a bool of value %d", key, b[0])
		}
		return b[0] == 1
	case typeF32, typeF64:
		return float(t, b)
	case typeI8, typeI16, typeI32, typeI64:
		return signed(t, b)
	}
	return unsigned(t, b)
}

func float(t uint32, b []byte) float64 {
	if t == typeF32 {
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(b))
}

func signed(t uint32, b []byte) int64 {
	switch t {
	case typeI8:
		return int64(int8(b[0]))
	case typeI16:
		return int64(int16(binary.LittleEndian.Uint16(b)))
	case typeI32:
		return int64(int32(binary.LittleEndian.Uint32(b)))
	}
	return int64(binary.LittleEndian.Uint64(b))
}

func unsigned(t uint32, b []byte) uint64 {
	switch t {
	case typeU8:
		return uint64(b[0])
	case typeU16:
		return uint64(binary.LittleEndian.Uint16(b))
	case typeU32:
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return binary.LittleEndian.Uint64(b)
}

func (r *reader) array(key string) any {
	t, n := r.u32(key), r.u64(key)
	switch {
	case r.err != nil:
		return nil
	case t == typeArray:
		r.fail("key %q is an array of arrays", key)
		return nil
	case t >= uint32(len(widths)):
		r.fail("key %q is an array of unknown type %d", key, t)
		return nil
	case t == typeString:
		return r.texts(key, n)
	}
	w := uint64(widths[t])
	if n > uint64(len(r.b)-r.at)/w {
		r.fail("key %q claims %d elements in %d bytes", key, n, len(r.b)-r.at)
	}
	if !r.spend(8 * min(n, maxMemory)) {
		return nil
	}
	b := r.take(n*w, key)
	switch t {
	case typeBool:
		for _, v := range b {
			if v > 1 {
				r.fail("key %q holds a bool of value %d", key, v)
			}
		}
		return each(b, w, func(b []byte) bool { return b[0] == 1 })
	case typeF32, typeF64:
		return each(b, w, func(b []byte) float64 { return float(t, b) })
	case typeI8, typeI16, typeI32, typeI64:
		return each(b, w, func(b []byte) int64 { return signed(t, b) })
	}
	return each(b, w, func(b []byte) uint64 { return unsigned(t, b) })
}

// each decodes the elements of b, w bytes each.
func each[T any](b []byte, w uint64, decode func([]byte) T) []T {
	s := make([]T, 0, uint64(len(b))/w)
	for ; len(b) > 0; b = b[w:] {
		s = append(s, decode(b))
	}
	return s
}

// texts reads n strings. They share one copy of their bytes.
func (r *reader) texts(key string, n uint64) []string {
	if n > uint64(len(r.b)-r.at)/8 {
		r.fail("key %q claims %d strings in %d bytes", key, n, len(r.b)-r.at)
	}
	if !r.spend(16 * min(n, maxMemory)) {
		return nil
	}
	start := r.at
	for i := uint64(0); i < n && r.err == nil; i++ {
		r.take(r.u64(key), key)
	}
	if !r.spend(uint64(r.at - start)) {
		return nil
	}
	all := string(r.b[start:r.at])
	s := make([]string, n)
	for i, at := 0, 0; i < len(s); i++ {
		size := int(binary.LittleEndian.Uint64(r.b[start+at:]))
		s[i] = all[at+8 : at+8+size]
		at += 8 + size
	}
	return s
}

// info is what the header says of one tensor.
type info struct {
	name   string
	m      quant.Matrix // without Data
	size   uint64       // bytes
	offset uint64
}

func (r *reader) infos(n uint64) []info {
	var infos []info
	for i := uint64(0); i < n && r.err == nil; i++ {
		r.spend(256)
		infos = append(infos, r.info())
	}
	return infos
}

func (r *reader) info() info {
	t := info{name: r.name("the name of a tensor", maxName)}
	dims := r.u32("a tensor's dimensions")
	if r.err == nil && (dims < 1 || dims > maxDims) {
		r.fail("tensor %q has %d dimensions; 1 to %d are supported", t.name, dims, maxDims)
	}
	cols, rows := uint64(1), uint64(1)
	for d := uint32(0); d < dims && r.err == nil; d++ {
		n := r.u64("a tensor's shape")
		if r.err == nil && (n < 1 || n > maxDim) {
			r.fail("tensor %q has a dimension of %d", t.name, n)
		}
		if d == 0 {
			cols = n
		} else if rows *= n; rows > maxDim { // both below 2³¹: no overflow
			r.fail("tensor %q has more than %d rows", t.name, maxDim)
		}
	}
	kind := quant.Type(r.u32("a tensor's type"))
	t.offset = r.u64("a tensor's offset")
	switch {
	case r.err != nil:
		return t
	case !kind.Known():
		r.fail("tensor %q is stored as %s, which is not supported", t.name, typeName(uint32(kind)))
		return t
	case cols%uint64(kind.BlockSize()) != 0:
		r.fail("tensor %q has rows of %d numbers, which are not whole blocks of %s (%d)", t.name, cols, kind, kind.BlockSize())
		return t
	}
	t.m = quant.Matrix{Type: kind, Rows: int(rows), Cols: int(cols)}
	over, size := bits.Mul64(rows, cols/uint64(kind.BlockSize())*uint64(kind.BlockBytes()))
	if over != 0 || size > uint64(len(r.b)) {
		r.fail("tensor %q (%d×%d, %s) is larger than the file", t.name, rows, cols, kind)
	}
	t.size = size
	return t
}

// place finds the data of the tensors: one after the other, each at a multiple
// of the alignment, nothing between them.
func (r *reader) place(f *File, infos []info) {
	align := uint64(32)
	if v, ok := f.Metadata["general.alignment"].(uint64); ok {
		if align = v; v == 0 || v&(v-1) != 0 || v > maxAlign {
			r.fail("general.alignment is %d, not a power of two up to %d", v, maxAlign)
		}
	}
	if r.err != nil || len(infos) == 0 {
		return
	}
	up := func(n uint64) uint64 { return (n + align - 1) &^ (align - 1) }
	start := up(uint64(r.at))
	if start > uint64(len(r.b)) {
		r.fail("it ends before the data of its tensors")
		return
	}
	data, next := r.b[start:], uint64(0)
	for _, t := range infos {
		_, twice := f.tensors[t.name]
		switch {
		case twice:
			r.fail("tensor %q occurs twice", t.name)
		case t.offset != next:
			r.fail("the data of tensor %q begins at %d, not at %d where the one before ends", t.name, t.offset, next)
		case next > uint64(len(data)) || t.size > uint64(len(data))-next:
			r.fail("it ends inside tensor %q (%d of %d bytes there)", t.name, max(0, int64(len(data))-int64(next)), t.size)
		}
		if r.err != nil {
			return
		}
		t.m.Data = data[next : next+t.size : next+t.size]
		f.tensors[t.name] = t.m
		f.Names = append(f.Names, t.name)
		next = up(next + t.size)
	}
}

// typeName names the formats of ggml that cannot be read.
func typeName(id uint32) string {
	names := map[uint32]string{
		4: "Q4_2 (removed from ggml)", 5: "Q4_3 (removed from ggml)", 9: "Q8_1", 15: "Q8_K",
		16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 21: "IQ3_S", 22: "IQ2_S",
		24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0",
		39: "MXFP4", 40: "NVFP4", 41: "Q1_0", 42: "Q2_0",
	}
	if name, ok := names[id]; ok {
		return name
	}
	return fmt.Sprintf("type %d", id)
}
