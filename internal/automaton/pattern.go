package automaton

import (
	"encoding/binary"
	"errors"
	"math"
	"regexp/syntax"
	"slices"
	"unicode"
	"unicode/utf8"
)

// Length bounds the number of characters; Max is negative for no limit.
type Length struct{ Min, Max int32 }

// dress says how an expression's characters are written.
type dress uint8

const (
	bare     dress = iota // as they are; the expression stands for the whole text
	inString              // inside a JSON string, whose closing quote follows; it may match anywhere
)

const (
	maxEdges = 60_000
	// maxWork is how many places may be looked at: some tenths of a second.
	maxWork = 6_000_000
	// maxProgram is how many instructions an expression may have.
	maxProgram = 5000
)

// Pattern compiles a regular expression (RE2's syntax, which is ECMA 262's
// without look-around and back-references) to the automaton of the texts in
// which it matches, written as the inside of a JSON string and its closing quote,
// each in one way only. The table is nil when there is none.
func Pattern(source string, l Length, has *Bytes) (*Table, error) {
	return pattern(source, inString, l, has)
}

func pattern(source string, d dress, l Length, has *Bytes) (*Table, error) {
	re, err := syntax.Parse(source, syntax.Perl)
	if err != nil {
		return nil, err
	}
	if err := portable(re); err != nil {
		return nil, err
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil, err
	}
	if len(prog.Inst) > maxProgram {
		return nil, errors.New("the expression is too large")
	}
	x := &expression{prog: prog, Length: l, dress: d, has: has, spelt: map[[2]rune][]spelling{}}
	if err := x.spell(); err != nil {
		return nil, err
	}
	t, err := build(rules[string]{start: x.start(), cuts: x.cuts, step: x.step, accept: x.accept}, has)
	if x.work > maxWork {
		return nil, errWork
	}
	return t, err
}

// portable refuses what other engines read differently, and makes the dot leave
// out every end of a line.
func portable(re *syntax.Regexp) error {
	switch re.Op {
	case syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return errors.New(`\b and \B are not supported`)
	case syntax.OpBeginLine, syntax.OpEndLine:
		return errors.New("(?m) is not supported")
	case syntax.OpAnyCharNotNL:
		re.Op = syntax.OpCharClass
		re.Rune = []rune{0, 9, 11, 12, 14, 0x2027, 0x202A, utf8.MaxRune}
	}
	for _, sub := range re.Sub {
		if err := portable(sub); err != nil {
			return err
		}
	}
	return nil
}

var errWork = errors.New("the expression is too complex; make its repetitions and choices fewer")

// spelling is one way to write the characters of a range: a byte range for each
// byte.
type spelling [][2]byte

// expression is a compiled expression on its way to a table.
//
// Its states are the instructions that wait for a character, in order, each with
// the spelling that is being written, if any, and its byte; and how many
// characters were begun.
type expression struct {
	prog *syntax.Prog
	Length
	dress dress
	has   *Bytes
	cuts  cuts
	spelt map[[2]rune][]spelling
	edges int
	work  int
	of    [][]spelling // (instructions)
}

// item is one place in an expression.
type item struct {
	pc   uint32 // instruction, or one of the values below
	way  uint16 // spelling of it, from 1; 0 between characters
	byte uint16 // how many of its bytes are written
}

const (
	before = math.MaxUint32 - iota // a character before the match
	behind                         // a character behind it
	over                           // the closing quote was read
)

// spell lists the spellings of each instruction's characters.
func (x *expression) spell() error {
	x.of = make([][]spelling, len(x.prog.Inst)+1)
	if x.dress == inString {
		x.cuts.add('"', '"')
	}
	for i := range x.prog.Inst {
		if err := x.ranges(i, runes(&x.prog.Inst[i])); err != nil {
			return err
		}
	}
	return x.ranges(len(x.prog.Inst), []rune{0, utf8.MaxRune})
}

// ranges enters the spellings of instruction i.
func (x *expression) ranges(i int, ranges []rune) error {
	for r := 0; r+1 < len(ranges); r += 2 {
		key := [2]rune{ranges[r], ranges[r+1]}
		ways, ok := x.spelt[key]
		if !ok {
			ways = x.write(key[0], key[1])
			x.spelt[key] = ways
		}
		x.of[i] = append(x.of[i], ways...)
		if x.edges += len(ways); x.edges > maxEdges {
			return errors.New("the expression has too many characters to choose from")
		}
	}
	return nil
}

// runes are the characters that an instruction reads, as ranges.
func runes(in *syntax.Inst) []rune {
	switch in.Op {
	case syntax.InstRune1:
		return []rune{in.Rune[0], in.Rune[0]}
	case syntax.InstRune:
		if len(in.Rune) > 1 {
			return in.Rune
		}
		r := in.Rune[0]
		out := []rune{r, r}
		if syntax.Flags(in.Arg)&syntax.FoldCase != 0 { // [eE] is one too
			for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
				out = append(out, f, f)
			}
		}
		return out
	case syntax.InstRuneAny:
		return []rune{0, utf8.MaxRune}
	case syntax.InstRuneAnyNotNL:
		return []rune{0, 9, 11, utf8.MaxRune}
	}
	return nil
}

// write returns the ways to write the runes from lo to hi.
func (x *expression) write(lo, hi rune) (ways []spelling) {
	for lo <= hi {
		end := hi
		switch {
		case x.dress == inString && (lo < ' ' || lo == '"' || lo == '\\'):
			end = lo
			ways = append(ways, x.literal(lo))
		case x.dress == inString && lo < '"':
			end = min(hi, '"'-1)
			ways = append(ways, x.utf8(lo, end)...)
		case x.dress == inString && lo < '\\':
			end = min(hi, '\\'-1)
			ways = append(ways, x.utf8(lo, end)...)
		default:
			ways = append(ways, x.utf8(lo, hi)...)
		}
		lo = end + 1
	}
	for _, way := range ways {
		for _, b := range way {
			x.cuts.add(b[0], b[1])
		}
	}
	return ways
}

// literal is the escape of a rune.
func (x *expression) literal(r rune) (way spelling) {
	text := Quote(string(r), x.has)
	for i := 1; i < len(text)-1; i++ {
		way = append(way, [2]byte{text[i], text[i]})
	}
	return way
}

// utf8 cuts a range of runes into ranges whose encodings are ranges byte by
// byte (Cox, RE2; https://swtch.com/~rsc/regexp/regexp3.html).
func (x *expression) utf8(lo, hi rune) (ways []spelling) {
	if lo <= 0xDFFF && hi >= 0xD800 { // surrogates are no characters
		if lo < 0xD800 {
			ways = x.utf8(lo, 0xD7FF)
		}
		if hi > 0xDFFF {
			ways = append(ways, x.utf8(0xE000, hi)...)
		}
		return ways
	}
	for _, last := range []rune{0x7F, 0x7FF, 0xFFFF} {
		if lo <= last && last < hi {
			return append(x.utf8(lo, last), x.utf8(last+1, hi)...)
		}
	}
	for n := 1; n < utf8.RuneLen(lo); n++ {
		m := rune(1)<<(6*n) - 1
		if lo&^m != hi&^m {
			if lo&m != 0 {
				return append(x.utf8(lo, lo|m), x.utf8(lo|m+1, hi)...)
			}
			if hi&m != m {
				return append(x.utf8(lo, hi&^m-1), x.utf8(hi&^m, hi)...)
			}
		}
	}
	a, b := utf8.AppendRune(nil, lo), utf8.AppendRune(nil, hi)
	var way spelling
	for i := range a {
		way = append(way, [2]byte{a[i], b[i]})
	}
	return []spelling{way}
}

// start is the state before the first character.
func (x *expression) start() string {
	items := x.follow(nil, uint32(x.prog.Start), true)
	if x.dress == inString {
		items = append(items, item{pc: before})
	}
	return x.state(items, 0)
}

// follow adds the instructions that wait for a character after pc, and behind
// when the match may end here and further text follows.
func (x *expression) follow(items []item, pc uint32, first bool) []item {
	seen := map[uint32]bool{}
	var visit func(pc uint32)
	visit = func(pc uint32) {
		if seen[pc] {
			return
		}
		seen[pc] = true
		x.work++
		in := &x.prog.Inst[pc]
		switch in.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			visit(in.Out)
			visit(in.Arg)
		case syntax.InstCapture, syntax.InstNop:
			visit(in.Out)
		case syntax.InstEmptyWidth:
			switch e := syntax.EmptyOp(in.Arg); {
			case e&syntax.EmptyBeginText != 0 && first:
				visit(in.Out)
			case e&syntax.EmptyEndText != 0:
				items = append(items, item{pc: pc}) // looked at by accept
			}
		case syntax.InstMatch:
			items = append(items, item{pc: pc})
			if x.dress == inString {
				items = append(items, item{pc: behind})
			}
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			items = append(items, item{pc: pc})
		}
	}
	visit(pc)
	return items
}

// matches reports whether the text may end at instruction pc.
func (x *expression) matches(pc uint32, first bool, seen map[uint32]bool) bool {
	if pc == behind {
		return true
	}
	if pc == before || seen[pc] {
		return false
	}
	seen[pc] = true
	in := &x.prog.Inst[pc]
	switch in.Op {
	case syntax.InstMatch:
		return true
	case syntax.InstAlt, syntax.InstAltMatch:
		return x.matches(in.Out, first, seen) || x.matches(in.Arg, first, seen)
	case syntax.InstCapture, syntax.InstNop:
		return x.matches(in.Out, first, seen)
	case syntax.InstEmptyWidth:
		e := syntax.EmptyOp(in.Arg)
		return (e&syntax.EmptyBeginText == 0 || first) && x.matches(in.Out, first, seen)
	}
	return false
}

// state packs items and a count of characters. Behind a match nothing else matters.
func (x *expression) state(items []item, chars int32) string {
	if slices.ContainsFunc(items, func(i item) bool { return i.pc == behind }) {
		items = slices.DeleteFunc(items, func(i item) bool { return i.pc != behind })
	}
	slices.SortFunc(items, func(a, b item) int {
		return slices.Compare([]uint32{a.pc, uint32(a.way), uint32(a.byte)}, []uint32{b.pc, uint32(b.way), uint32(b.byte)})
	})
	items = slices.Compact(items)
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, 4+8*len(items)), uint32(chars))
	for _, i := range items {
		b = binary.LittleEndian.AppendUint32(b, i.pc)
		b = binary.LittleEndian.AppendUint16(b, i.way)
		b = binary.LittleEndian.AppendUint16(b, i.byte)
	}
	return string(b)
}

// unpack is the inverse of state.
func unpack(s string) (items []item, chars int32) {
	b := []byte(s)
	for i := 4; i < len(b); i += 8 {
		items = append(items, item{
			binary.LittleEndian.Uint32(b[i:]), binary.LittleEndian.Uint16(b[i+4:]), binary.LittleEndian.Uint16(b[i+6:]),
		})
	}
	return items, int32(binary.LittleEndian.Uint32(b))
}

// ways are the spellings of an item's instruction.
func (x *expression) ways(i item) []spelling {
	switch i.pc {
	case over:
		return nil
	case before, behind:
		return x.of[len(x.prog.Inst)]
	}
	return x.of[i.pc]
}

// step reads one byte.
func (x *expression) step(s string, b byte) (string, bool) {
	items, chars := unpack(s)
	for _, i := range items {
		x.work++
		if i.way == 0 {
			x.work += len(x.ways(i)) / 16
		}
	}
	if x.work > maxWork || items[0].pc == over {
		return "", false
	}
	between := items[0].way == 0
	if x.dress == inString && between && b == '"' {
		return x.state([]item{{pc: over}}, 0), x.complete(items, chars)
	}
	if between {
		if x.Max >= 0 && chars >= x.Max {
			return "", false
		}
		if chars++; x.Max < 0 {
			chars = min(chars, max(x.Min, 1))
		}
	}
	var out []item
	for _, i := range items {
		if i.way != 0 {
			out = x.advance(out, i, b)
			continue
		}
		for w := range x.ways(i) {
			out = x.advance(out, item{i.pc, uint16(w + 1), 0}, b)
		}
	}
	if len(out) == 0 {
		return "", false
	}
	return x.state(out, chars), true
}

// advance adds the places where item i, which is in a spelling, is after byte b.
func (x *expression) advance(out []item, i item, b byte) []item {
	way := x.ways(i)[i.way-1]
	if b < way[i.byte][0] || b > way[i.byte][1] {
		return out
	}
	i.byte++
	switch {
	case int(i.byte) < len(way):
		return append(out, i)
	case i.pc == before:
		return x.follow(append(out, item{pc: before}), uint32(x.prog.Start), false)
	case i.pc == behind:
		return append(out, item{pc: behind})
	}
	return x.follow(out, x.prog.Inst[i.pc].Out, false)
}

// complete reports whether the text may end between characters.
func (x *expression) complete(items []item, chars int32) bool {
	if chars < x.Min {
		return false
	}
	for _, i := range items {
		if i.way == 0 && x.matches(i.pc, chars == 0, map[uint32]bool{}) {
			return true
		}
	}
	return false
}

func (x *expression) accept(s string) bool {
	items, chars := unpack(s)
	if x.dress == inString {
		return items[0].pc == over
	}
	return x.complete(items, chars)
}

// formats are the expressions of the formats that can be held.
var formats = map[string]string{
	"date":      `^` + date + `$`,
	"time":      `^` + clock + `$`,
	"date-time": `^` + date + `T` + clock + `$`,
	"duration":  `^P([0-9]{1,4}W|([0-9]{1,4}Y([0-9]{1,4}M([0-9]{1,4}D)?)?|[0-9]{1,4}M([0-9]{1,4}D)?|[0-9]{1,4}D)(T` + span_ + `)?|T` + span_ + `)$`,
	"email":     `^` + atom + `(\.` + atom + `){0,2}@` + label + `(\.` + label + `){1,3}$`,
	"hostname":  `^` + label + `(\.` + label + `){0,5}$`,
	"ipv4":      `^` + octet + `(\.` + octet + `){3}$`,
	"ipv6":      `^[0-9a-f]{1,4}(:[0-9a-f]{1,4}){7}$`,
	"uuid":      `^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`,
}

// The parts of the formats: RFC 3339 without leap seconds, its appendix A for
// durations, RFC 5321 and 1123 for names, shorter than they allow.
const (
	leap  = `([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)`
	date  = `([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|` + leap + `-02-29)`
	clock = `([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])`
	span_ = `([0-9]{1,4}H([0-9]{1,4}M([0-9]{1,4}S)?)?|[0-9]{1,4}M([0-9]{1,4}S)?|[0-9]{1,4}S)`
	atom  = `[A-Za-z0-9!#$%&'*+/=?^_{|}~-]{1,20}`
	label = `[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?`
	octet = `(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])`
)

// Format is the expression of a format's strings, false when it is not known.
func Format(name string) (source string, ok bool) {
	source, ok = formats[name]
	return source, ok
}
