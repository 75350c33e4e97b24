package gguf_test

import (
	"encoding/binary"
	"math"
	"strings"
)

// parts is a GGUF file in pieces, so that each can be spoilt.
type parts struct {
	magic          string
	version        uint32
	tensors, pairs uint64 // counts, besides those of the pieces
	keys           [][]byte
	infos          [][]byte
	data           []byte
}

var le = binary.LittleEndian

func u32(v uint32) []byte { return le.AppendUint32(nil, v) }
func u64(v uint64) []byte { return le.AppendUint64(nil, v) }

func join(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func text(s string) []byte { return append(u64(uint64(len(s))), s...) }

// key is a key, its type and the bytes of its value.
func key(name string, typ uint32, value ...[]byte) []byte {
	return join(text(name), u32(typ), join(value...))
}

// tensor is an entry of the list of tensors; ne is in ggml's order.
func tensor(name string, typ uint32, offset uint64, ne ...uint64) []byte {
	b := append(text(name), u32(uint32(len(ne)))...)
	for _, n := range ne {
		b = append(b, u64(n)...)
	}
	return join(b, u32(typ), u64(offset))
}

func (p parts) bytes() []byte {
	b := join([]byte(p.magic), u32(p.version), u64(uint64(len(p.infos))+p.tensors), u64(uint64(len(p.keys))+p.pairs),
		join(p.keys...), join(p.infos...))
	b = append(b, make([]byte, -len(b)&31)...)
	return append(b, p.data...)
}

// sound is a small file with nothing wrong: keys of every type, two tensors.
func sound() parts {
	return parts{
		magic: "GGUF", version: 3,
		keys: [][]byte{
			key("general.architecture", 8, text("llama")),
			key("a.u8", 0, []byte{200}), key("a.i8", 1, []byte{200}),
			key("a.u16", 2, []byte{1, 2}), key("a.i16", 3, []byte{0xff, 0xff}),
			key("a.u32", 4, u32(7)), key("a.i32", 5, u32(math.MaxUint32)),
			key("a.f32", 6, u32(math.Float32bits(1.5))), key("a.bool", 7, []byte{1}),
			key("a.u64", 10, u64(1<<40)), key("a.i64", 11, u64(math.MaxUint64)),
			key("a.f64", 12, u64(math.Float64bits(2.5))),
			key("b.strings", 9, u32(8), u64(3), text("x"), text(""), text("größer")),
			key("b.i32", 9, u32(5), u64(2), u32(1), u32(math.MaxUint32)),
			key("b.u8", 9, u32(0), u64(3), []byte{1, 2, 3}),
			key("b.f32", 9, u32(6), u64(1), u32(math.Float32bits(0.5))),
			key("b.bool", 9, u32(7), u64(2), []byte{1, 0}),
			key("b.empty", 9, u32(8), u64(0)),
		},
		infos: [][]byte{
			tensor("w", 2, 0, 32, 3),    // Q4_0: 3 rows of 18 bytes
			tensor("v", 0, 64, 5),       // F32
			tensor("u", 0, 96, 2, 3, 4), // twelve rows of two
		},
		data: make([]byte, 96+96),
	}
}

type malformed struct {
	name  string
	bytes []byte
	want  string // part of the sentence
}

// spoil returns a case made from a sound file.
func spoil(name, want string, change func(*parts)) malformed {
	p := sound()
	change(&p)
	return malformed{name, p.bytes(), want}
}

// withKey and withTensor add one bad piece behind the sound ones.
func withKey(name, want string, k []byte) malformed {
	return spoil(name, want, func(p *parts) { p.keys = append(p.keys, k) })
}

func withTensor(name, want string, info []byte) malformed {
	return spoil(name, want, func(p *parts) { p.infos, p.data = [][]byte{info}, p.data[:64] })
}

func malformedHeaders() []malformed {
	big := sound().bytes()
	copy(big[4:], []byte{0, 0, 0, 3})
	return []malformed{
		{"nothing", nil, "ends inside the magic number"},
		{"three bytes", []byte("GGU"), "ends inside the magic number"},
		{"magic only", []byte("GGUF"), "ends inside the version"},
		spoil("wrong magic", "not with GGUF", func(p *parts) { p.magic = "GGML" }),
		spoil("version 0", "version 0", func(p *parts) { p.version = 0 }),
		spoil("version 1", "version 1", func(p *parts) { p.version = 1 }),
		spoil("version 4", "version 4", func(p *parts) { p.version = 4 }),
		{"big-endian", big, "big-endian"},
		spoil("2^64-1 tensors", "claims", func(p *parts) { p.tensors = math.MaxUint64 - 3 }),
		spoil("2^60 tensors", "claims", func(p *parts) { p.tensors = 1 << 60 }),
		spoil("2^64-1 keys", "claims", func(p *parts) { p.pairs = math.MaxUint64 - 18 }),
		spoil("10^12 keys", "claims", func(p *parts) { p.pairs = 1e12 }),
		spoil("a tensor too many", "", func(p *parts) { p.tensors = 1 }),
		spoil("a key too many", "", func(p *parts) { p.pairs = 1 }),
	}
}

func malformedKeys() []malformed {
	nested := key("k", 9, []byte(strings.Repeat(string(join(u32(9), u64(1))), 100_000)))
	align := func(name string, typ uint32, v []byte) malformed {
		return withKey(name, "general.alignment", key("general.alignment", typ, v))
	}
	return []malformed{
		withKey("key of 2^64-1 bytes", "more than 65535", join(u64(math.MaxUint64), []byte("k"))),
		withKey("key of 2^31 bytes", "more than 65535", join(u64(1<<31), []byte("k"))),
		withKey("key of 65536 bytes", "more than 65535", key(strings.Repeat("k", 65536), 0, []byte{1})),
		withKey("key of no bytes", "a key is empty", key("", 0, []byte{1})),
		withKey("string of 2^40 bytes", "more than", key("k", 8, u64(1<<40))),
		withKey("string beyond the end", "ends inside k", key("k", 8, u64(1<<20))),
		withKey("array of 10^18", "claims", key("k", 9, u32(0), u64(1e18))),
		withKey("array of 2^64-1 u64", "claims", key("k", 9, u32(10), u64(math.MaxUint64))),
		withKey("array of 10^9 strings", "claims", key("k", 9, u32(8), u64(1e9))),
		withKey("array of strings with a long one", "ends inside k", key("k", 9, u32(8), u64(2), text("a"), u64(1<<62))),
		withKey("nested arrays", "array of arrays", nested),
		withKey("array of unknown type", "unknown type 13", key("k", 9, u32(13), u64(1))),
		withKey("unknown type", "unknown type 13", key("k", 13, u64(1))),
		withKey("type 2^32-1", "unknown type", key("k", math.MaxUint32, u64(1))),
		withKey("bool 7", "value 7", key("k", 7, []byte{7})),
		withKey("array with bool 7", "value 7", key("k", 9, u32(7), u64(2), []byte{1, 7})),
		withKey("key with NUL", "not text", key("a\x00b", 0, []byte{1})),
		withKey("key of no UTF-8", "not text", key("a\xff", 0, []byte{1})),
		withKey("key twice", `"a.u32" occurs twice`, key("a.u32", 4, u32(7))),
		align("alignment 0", 4, u32(0)),
		align("alignment 3", 4, u32(3)),
		align("alignment 2^31", 4, u32(1<<31)),
		align("alignment u64", 10, u64(32)),
		align("alignment text", 8, text("32")),
	}
}

func malformedTensors() []malformed {
	dims := func(n uint32, ne ...uint64) []byte {
		b := append(text("t"), u32(n)...)
		for _, v := range ne {
			b = append(b, u64(v)...)
		}
		return join(b, u32(0), u64(0))
	}
	cases := []malformed{
		withTensor("dimension 0", "dimension of 0", tensor("t", 0, 0, 0)),
		withTensor("dimension 2^63", "dimension of 9223372036854775808", tensor("t", 0, 0, 1<<63)),
		withTensor("product beyond 64 bits", "dimension of 8589934592", tensor("t", 0, 0, 1<<33, 1<<31)),
		withTensor("product of four beyond 64 bits", "rows", tensor("t", 0, 0, 1<<30, 1<<30, 1<<30, 1<<30)),
		withTensor("larger than the file", "larger than the file", tensor("t", 0, 0, 1<<31-1, 1<<31-1)),
		withTensor("beyond the end", "ends inside tensor", tensor("t", 0, 0, 32)),
		withTensor("half a block", "not whole blocks of Q8_0", tensor("t", 8, 0, 48)),
		withTensor("unaligned", "begins at 8, not at 0", tensor("t", 0, 8, 1)),
		withTensor("offset beyond the end", "begins at 1048576", tensor("t", 0, 1<<20, 1)),
		withTensor("offset 2^64-32", "begins at", tensor("t", 0, math.MaxUint64-31, 1)),
		withTensor("no dimensions", "0 dimensions", dims(0)),
		withTensor("five dimensions", "5 dimensions", dims(5, 1, 1, 1, 1, 1)),
		withTensor("2^32-1 dimensions", "4294967295 dimensions", dims(math.MaxUint32, 1)),
		withTensor("no name", "is empty", tensor("", 0, 0, 1)),
		withTensor("name of 200 bytes", "more than 63", tensor(strings.Repeat("n", 200), 0, 0, 1)),
		withTensor("name of 2^63 bytes", "more than 63", join(u64(1<<63), u32(1), make([]byte, 30))),
		withTensor("name of no UTF-8", "not text", tensor("\xfe", 0, 0, 1)),
		spoil("name twice", `"w" occurs twice`, func(p *parts) { p.infos[1] = tensor("w", 0, 64, 5) }),
		spoil("overlap", "begins at 32, not at 64", func(p *parts) { p.infos[1] = tensor("v", 0, 32, 5) }),
		spoil("gap", "begins at 128, not at 64", func(p *parts) { p.infos[1] = tensor("v", 0, 128, 5) }),
		spoil("no data", "ends inside tensor", func(p *parts) { p.data = nil }),
		spoil("another type of the same shape", "begins at 64", func(p *parts) { p.infos[0] = tensor("w", 8, 0, 32, 3) }),
	}
	for typ, name := range map[uint32]string{4: "Q4_2", 5: "Q4_3", 26: "I32", 40: "NVFP4", 1000: "type 1000", math.MaxUint32: "type 4294967295"} {
		cases = append(cases, withTensor("stored as "+name, name, tensor("t", typ, 0, 32)))
	}
	return cases
}

// truncated are the sound file at every length but those that leave only the
// padding behind the last tensor out.
func truncated() (cases []malformed) {
	b := sound().bytes()
	for n := range len(b) {
		cases = append(cases, malformed{"cut short", b[:n], ""})
	}
	return cases
}
