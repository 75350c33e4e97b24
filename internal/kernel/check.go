package kernel

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"unsafe"

	"afina/internal/quant"
)

// trial compares the loops of a level with their plain-Go twins on made-up
// numbers. NewGang makes a short one, the tests make long ones.
type trial struct {
	got, want *products
	alloc     func(bytes int) []byte
	number    func() float32 // for inputs; random, around 1
	seed      uint64
}

// newTrial compares with random numbers in ordinary memory.
func newTrial(got *products) *trial {
	t := &trial{got: got, want: genericProducts(), seed: 1}
	t.alloc = func(n int) []byte { return make([]byte, n) }
	t.number = func() float32 { return float32(int32(t.next()>>32)) * 0x1p-30 }
	return t
}

// next is splitmix64 (Steele et al. 2014).
func (t *trial) next() uint64 {
	t.seed += 0x9e3779b97f4a7c15
	x := (t.seed ^ t.seed>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// all compares every loop on tiles of every height: k2 pairs or nblk blocks of
// numbers and np panels.
func (t *trial) all(np, nblk int) error {
	for h := 1; h <= maxHeight; h++ {
		var err error
		for _, kinds := range [][2]*intTiles{{&t.got.fine, &t.want.fine}, {&t.got.coarse, &t.want.coarse}} {
			if t.got.integers && slices.Contains(kinds[0].heights[:], h) {
				err = errors.Join(err, t.ints(h, np, nblk, kinds), t.quantise(h, nblk, kinds))
			}
		}
		if t.got.pairs && slices.Contains(t.got.wholeHeights[:], h) {
			err = errors.Join(err, t.wholes(h, np, nblk))
		}
		if slices.Contains(t.got.floatHeights[:], h) {
			err = errors.Join(err, t.floats(h, np, nblk))
		}
		if err != nil {
			return fmt.Errorf("tiles of height %d: %w", h, err)
		}
	}
	for _, compare := range []func(np, nblk int) error{t.expansions, t.turns, t.tiles, t.words} {
		if err := compare(np, nblk); err != nil {
			return err
		}
	}
	return nil
}

func cast[T any](b []byte, n int) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

func (t *trial) float32s(n int) []float32 {
	x := cast[float32](t.alloc(4*n), n)
	for i := range x {
		x[i] = t.number()
	}
	return x
}

func (t *trial) float16s(n int) []uint16 {
	x := cast[uint16](t.alloc(2*n), n)
	for i := range x {
		x[i] = quant.F32ToF16(t.number())
	}
	return x
}

func (t *trial) pairs(n int) []uint32 {
	x := cast[uint32](t.alloc(4*n), n)
	for i := range x {
		x[i] = pair(t.number(), t.number())
	}
	return x
}

func (t *trial) bytes(n int) []byte {
	x := t.alloc(n)
	for i := range x {
		x[i] = byte(t.next())
	}
	return x
}

// outputs returns two places for n results, filled alike.
func (t *trial) outputs(n int) (got, want []float32) {
	got, want = t.float32s(n), make([]float32, n)
	copy(want, got)
	return got, want
}

// ints compares the products of int8 with quantised weights.
func (t *trial) ints(h, np, nblk int, kinds [2]*intTiles) error {
	ours, twin := kinds[0], kinds[1]
	ldc, rows := np*narrow+3, ours.parts*h
	ds, ms := t.float16s(np*nblk*narrow), t.float16s(np*nblk*narrow)
	a := cast[int8](t.bytes(nblk*block*rows), nblk*block*rows)
	for i := range a {
		a[i] = max(a[i], -127)
	}
	s, sum := t.float32s(nblk*rows), t.float32s(nblk*rows)
	init := cast[int32](t.alloc(4*nblk*rows), nblk*rows)
	for i := range init {
		init[i] = int32(t.next()) >> 16
	}
	n := (h-1)*ldc + np*narrow
	for _, bits := range []int{4, 8} {
		qs := t.bytes(np * nblk * blockBytes(bits))
		z, zt, m, mt := ours.zero4[h], twin.zero4[h], ours.min4[h], twin.min4[h]
		if bits == 8 {
			z, zt, m, mt = ours.zero8[h], twin.zero8[h], ours.min8[h], twin.min8[h]
		}
		got, want := t.outputs(n)
		z(np, nblk, &qs[0], &ds[0], &a[0], &s[0], &init[0], &got[0], ldc)
		zt(np, nblk, &qs[0], &ds[0], &a[0], &s[0], &init[0], &want[0], ldc)
		if err := near(got, want); err != nil {
			return fmt.Errorf("%d-bit weights with a zero: %w", bits, err)
		}
		m(np, nblk, &qs[0], &ds[0], &ms[0], &a[0], &s[0], &sum[0], &got[0], ldc)
		mt(np, nblk, &qs[0], &ds[0], &ms[0], &a[0], &s[0], &sum[0], &want[0], ldc)
		if err := near(got, want); err != nil {
			return fmt.Errorf("%d-bit weights with minima: %w", bits, err)
		}
	}
	return nil
}

// wholes compares the products of bfloat16 with 4-bit weights.
func (t *trial) wholes(h, np, nblk int) error {
	x, rs, ldc := t.float32s(nblk*block), nblk*wholeBlock, np*narrow+3
	a, want := cast[uint32](t.alloc(4*h*rs), h*rs), make([]uint32, rs)
	for r := range h {
		t.got.roundWhole(nblk, &x[0], &a[r*rs])
		t.want.roundWhole(nblk, &x[0], &want[0])
		if !slices.Equal(a[r*rs:][:rs], want) {
			return fmt.Errorf("activations in bfloat16: %w", errTwins)
		}
		x = t.float32s(nblk * block)
	}
	ds, ms, qs := t.float16s(np*nblk*narrow), t.float16s(np*nblk*narrow), t.bytes(np*nblk*blockBytes(4))
	for _, kind := range []struct{ got, want wholeTile }{{t.got.wholeZero[h], t.want.wholeZero[h]}, {t.got.wholeMin[h], t.want.wholeMin[h]}} {
		got, want := t.outputs((h-1)*ldc + np*narrow)
		kind.got(np, nblk, &qs[0], &ds[0], &ms[0], &a[0], rs, &got[0], ldc)
		kind.want(np, nblk, &qs[0], &ds[0], &ms[0], &a[0], rs, &want[0], ldc)
		if err := near(got, want); err != nil {
			return fmt.Errorf("4-bit weights and bfloat16: %w", err)
		}
	}
	return nil
}

// tiles compares the loops on tiles.
func (t *trial) tiles(np, nblk int) error {
	ours, twin := t.got.tiles, genericTiles()
	if ours == nil {
		return nil
	}
	if err := t.lowTiles(ours.low, twin.low, nblk); err != nil {
		return err
	}
	for rows := 1; rows <= 2*tileRows+3; rows++ {
		if err := t.tileRows(ours, twin, rows, np, nblk); err != nil {
			return fmt.Errorf("%d rows in tiles: %w", rows, err)
		}
	}
	return nil
}

// lowTiles compares the loops of low-rank products, the same bits.
func (t *trial) lowTiles(ours, twin *lowLoops, nblk int) error {
	const index, k0, k1, threshold, scale = 64, 7, 11, 1 << 30, 1.25
	n := nblk * block
	x, dy := t.float32s(n), t.float32s(n)
	got, want := t.pairs(n/2), make([]uint32, n/2)
	dx, dxWant := t.outputs(n)
	for name, f := range map[string]func(l *lowLoops, pairs []uint32, dx []float32){
		"drop": func(l *lowLoops, pairs []uint32, _ []float32) {
			l.drop(&pairs[0], &x[0], nblk, index, k0, k1, threshold, scale)
		},
		"over": func(l *lowLoops, pairs []uint32, dx []float32) {
			l.over(&pairs[0], &x[0], &dx[0], &dy[0], nblk, index, k0, k1, threshold, scale)
		},
		"onto": func(l *lowLoops, pairs []uint32, dx []float32) {
			l.onto(&pairs[0], &x[0], &dx[0], &dy[0], nblk, index, k0, k1, threshold, scale)
		},
	} {
		f(ours, got, dx)
		f(twin, want, dxWant)
		if !slices.Equal(got, want) {
			return fmt.Errorf("%s, in pairs: %w", name, errTwins)
		}
		if err := same(dx, dxWant, name); err != nil {
			return err
		}
	}
	step := 3 * wide
	rows, woven, wovenWant := t.pairs(n), t.pairs((nblk-1)*step+wide), make([]uint32, (nblk-1)*step+wide)
	copy(wovenWant, woven)
	ours.weave(nblk, &rows[0], &rows[n/2], &woven[0], step)
	twin.weave(nblk, &rows[0], &rows[n/2], &wovenWant[0], step)
	if !slices.Equal(woven, wovenWant) {
		return fmt.Errorf("rows woven: %w", errTwins)
	}
	return nil
}

func (t *trial) tileRows(ours, twin *tileLoops, rows, np, nblk int) error {
	k2, extra := nblk*tileRows, extraTiles(nblk)
	for add := range 2 {
		a, b := t.pairs(rows*(k2+16)-16), t.pairs(np*k2*wide)
		ldc := np*wide + 16
		got, want := t.outputs((rows-1)*ldc + np*wide)
		ours.pairRows(np, k2, a, k2+16, &b[0], k2*wide, got, ldc, 0, rows, add)
		twin.pairRows(np, k2, a, k2+16, &b[0], k2*wide, want, ldc, 0, rows, add)
		if err := near(got, want); err != nil {
			return fmt.Errorf("pairs of bfloat16: %w", err)
		}
	}
	rs := (nblk + extra) * narrow
	a, want := cast[uint32](t.alloc(4*rows*rs), rows*rs), make([]uint32, rs)
	for r := range rows {
		x, row := t.float32s(nblk*block), a[r*rs:][:rs]
		ours.round(nblk, &x[0], &row[0], &row[nblk*narrow])
		twin.round(nblk, &x[0], &want[0], &want[nblk*narrow])
		if !slices.Equal(row[:nblk*(narrow+2)], want[:nblk*(narrow+2)]) {
			return fmt.Errorf("activations: %w", errTwins)
		}
		clear(row[nblk*(narrow+2):])
	}
	ds, ms := t.float16s(np*nblk*narrow), t.float16s(np*nblk*narrow)
	for _, bits := range []int{4, 8} {
		qs := t.bytes(np * nblk * blockBytes(bits))
		for _, extra := range []int{0, extra} {
			unpack, plain, least := ours.unpack4, twin.unpack4, &ms[0]
			if bits == 8 {
				unpack, plain = ours.unpack8, twin.unpack8
			}
			if extra == 0 {
				least = nil
			}
			n := np * (nblk + extra) * tileWords
			b, bt := t.pairs(n), make([]uint32, n)
			unpack(np, nblk, extra, &qs[0], least, &b[0])
			plain(np, nblk, extra, &qs[0], least, &bt[0])
			if !slices.Equal(b, bt) {
				return fmt.Errorf("%d-bit weights: %w", bits, errTwins)
			}
			ldc, sums := np*narrow+16, t.float32s(4*tileWords)
			got, want := t.outputs((rows-1)*ldc + np*narrow)
			ours.blockRows(np, nblk, extra, rows, &b[0], &ds[0], a, rs, got, ldc, &sums[0])
			twin.blockRows(np, nblk, extra, rows, &b[0], &ds[0], a, rs, want, ldc, &sums[0])
			if err := near(got, want); err != nil {
				return fmt.Errorf("products with %d-bit weights: %w", bits, err)
			}
			dense, plainDense := ours.dense4, twin.dense4
			if bits == 8 {
				dense, plainDense = ours.dense8, twin.dense8
			}
			numbers := t.pairs(nblk * tileRows * wide)
			numbersWant := slices.Clone(numbers)
			dense(nblk, &qs[0], &ds[0], least, &numbers[0])
			plainDense(nblk, &qs[0], &ds[0], least, &numbersWant[0])
			if !slices.Equal(numbers, numbersWant) {
				return fmt.Errorf("%d-bit weights as numbers: %w", bits, errTwins)
			}
			copy(want, got) // what lies between the rows is not written
			for h := tileRows; h >= tileRows/2 && rows <= h; h /= 2 {
				stream, room := ours.stream4[h], t.float32s(streamRoom(extra))
				if bits == 8 {
					stream = ours.stream8[h]
				}
				stream(np, nblk, extra, rows, &qs[0], &ds[0], least, &a[0], rs, &want[0], ldc, &room[0], &sums[0], &blockConfigs[rows][0])
				if err := same(want, got, fmt.Sprintf("a stream of %d-bit weights", bits)); err != nil {
					return err
				}
			}
			if rows > laneRows {
				continue
			}
			floats, step := make([]float32, rows*2*rs), 2*rs
			for r := range rows {
				ours.floats(nblk, &a[r*rs], &floats[r*step])
				for b := range nblk {
					floats[r*step+nblk*block+2*b], floats[r*step+nblk*block+2*b+1] = unpair(a[r*rs+nblk*narrow+2*b])
				}
			}
			lane := ours.lanes4[rows]
			if bits == 8 {
				lane = ours.lanes8[rows]
			}
			lane(np, nblk, extra, &qs[0], &ds[0], least, &floats[0], step, &want[0], ldc)
			if err := same(want, got, fmt.Sprintf("a few rows of %d-bit weights", bits)); err != nil {
				return err
			}
		}
	}
	return nil
}

// floats compares the products of floats and of pairs of bfloat16.
func (t *trial) floats(h, tiles, nblk int) error {
	k, ldc := nblk*5, wide+5
	for add := range 2 {
		for _, width := range []int{narrow, wide} {
			f, ft := t.got.float16[h], t.want.float16[h]
			if width == wide {
				f, ft = t.got.float32[h], t.want.float32[h]
			}
			a, b := t.float32s((tiles*h-1)*(k+1)+k), t.float32s((k-1)*(width+2)+width)
			got, want := t.outputs((tiles*h-1)*ldc + width)
			f(tiles, k, &a[0], k+1, 1, &b[0], width+2, &got[0], ldc, 0.5, add)
			ft(tiles, k, &a[0], k+1, 1, &b[0], width+2, &want[0], ldc, 0.5, add)
			if err := near(got, want); err != nil {
				return fmt.Errorf("floats in %d columns: %w", width, err)
			}
			f(tiles, k, &a[0], 1, tiles*h, &b[0], width, &got[0], ldc, -2, add)
			ft(tiles, k, &a[0], 1, tiles*h, &b[0], width, &want[0], ldc, -2, add)
			if err := near(got, want); err != nil {
				return fmt.Errorf("floats turned, in %d columns: %w", width, err)
			}
		}
		if !t.got.pairs {
			continue
		}
		a, b := t.pairs((tiles*h-1)*(k+1)+k), t.pairs(k*wide)
		got, want := t.outputs((tiles*h-1)*ldc + wide)
		t.got.pair[h](tiles, k, &a[0], k+1, &b[0], &got[0], ldc, add)
		t.want.pair[h](tiles, k, &a[0], k+1, &b[0], &want[0], ldc, add)
		if err := near(got, want); err != nil {
			return fmt.Errorf("pairs of bfloat16: %w", err)
		}
	}
	return nil
}

// quantise compares the int8 form of activations, which must be the same bits.
func (t *trial) quantise(h, nblk int, kinds [2]*intTiles) error {
	parts := kinds[0].parts
	x, n := t.float32s(nblk*block), (nblk-1)*parts*h+parts
	var a [2][]byte
	var floats [2][]float32
	var ints [2][]int32
	for i, kit := range kinds {
		size := ((nblk*8-1)*h + 1) * 4 * parts
		a[i] = t.alloc(size)
		floats[i], ints[i] = cast[float32](t.alloc(8*n), 2*n), cast[int32](t.alloc(8*n), 2*n)
		clear(a[i])
		clear(floats[i])
		clear(ints[i])
		kit.quantise(nblk, h, &x[0], (*int8)(unsafe.Pointer(&a[i][0])), &floats[i][0], &ints[i][0], &ints[i][n], &floats[i][n])
	}
	if !slices.Equal(a[0], a[1]) || !slices.Equal(ints[0], ints[1]) {
		return fmt.Errorf("int8 activations: %w", errTwins)
	}
	return same(floats[0], floats[1], "scales of int8 activations")
}

// expansions compares the ways back from packed weights, the same bits too.
func (t *trial) expansions(np, nblk int) error {
	ds, ms := t.float16s(np*nblk*narrow), t.float16s(np*nblk*narrow)
	for _, bits := range []int{4, 8} {
		f, ft, g, gt := t.got.expand4, t.want.expand4, t.got.spread4, t.want.spread4
		if bits == 8 {
			f, ft, g, gt = t.got.expand8, t.want.expand8, t.got.spread8, t.want.spread8
		}
		size := blockBytes(bits)
		qs := t.bytes(np * nblk * size)
		for _, m := range []*uint16{nil, &ms[0]} {
			got, want := t.pairs(np*8*wide), make([]uint32, np*8*wide)
			f(np, &qs[0], nblk*size, &ds[0], m, nblk*narrow, &got[0])
			ft(np, &qs[0], nblk*size, &ds[0], m, nblk*narrow, &want[0])
			if !slices.Equal(got, want) {
				return fmt.Errorf("%d-bit weights to bfloat16: %w", bits, errTwins)
			}
			floats, floatsWant := t.outputs(np * narrow * block)
			g(np, &qs[0], nblk*size, &ds[0], m, nblk*narrow, &floats[0])
			gt(np, &qs[0], nblk*size, &ds[0], m, nblk*narrow, &floatsWant[0])
			if err := same(floats, floatsWant, "weights to float32"); err != nil {
				return fmt.Errorf("%d-bit %w", bits, err)
			}
		}
	}
	src := t.pairs(np * nblk * 16 * wide)
	got, want := t.pairs(np*16*wide), make([]uint32, np*16*wide)
	t.got.expandPairs(np, &src[0], nblk*16*wide, &got[0])
	t.want.expandPairs(np, &src[0], nblk*16*wide, &want[0])
	if !slices.Equal(got, want) {
		return fmt.Errorf("pairs along the rows: %w", errTwins)
	}
	return nil
}

// turns compares what only moves or rounds numbers.
func (t *trial) turns(np, nblk int) error {
	x := t.float32s(nblk * 32)
	got, want := t.pairs(nblk*16), make([]uint32, nblk*16)
	t.got.round(nblk, &x[0], &got[0])
	t.want.round(nblk, &x[0], &want[0])
	if !slices.Equal(got, want) {
		return fmt.Errorf("float32 to bfloat16: %w", errTwins)
	}
	for _, width := range []int{narrow, wide} {
		k, w := nblk*7+np, min(width, 5*np)
		b := t.float32s((w-1)*(k+1) + k)
		got, want := t.outputs(k * width)
		t.got.transpose(w, k, b, k+1, got, width)
		t.want.transpose(w, k, b, k+1, want, width)
		for l := range k {
			if !slices.Equal(got[l*width:][:w], want[l*width:][:w]) {
				return fmt.Errorf("transposing to %d columns: %w", width, errTwins)
			}
		}
	}
	return nil
}

var errTwins = errors.New("not what plain Go computes")

// same reports results that are not the same bits; any two NaNs are.
func same(got, want []float32, what string) error {
	for i := range want {
		if got[i] != want[i] && (got[i] == got[i] || want[i] == want[i]) {
			return fmt.Errorf("%s: %g where plain Go has %g: %w", what, got[i], want[i], errTwins)
		}
	}
	return nil
}

// near reports results further apart than the order of a float32 sum explains:
// a ten-thousandth of their root mean square.
func near(got, want []float32) error {
	var squares float64
	for _, v := range want {
		squares += float64(v) * float64(v)
	}
	bound := 1e-4 * math.Sqrt(squares/float64(len(want)))
	for i := range want {
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= bound) {
			return fmt.Errorf("%g where plain Go has %g: %w", got[i], want[i], errTwins)
		}
	}
	return nil
}
