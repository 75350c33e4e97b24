package kernel

import (
	"fmt"
	"slices"
)

// words compares the loops on whole numbers of 16 and 8 bits.
func (t *trial) words(np, nblk int) error {
	if t.got.shorts == nil {
		return nil
	}
	for _, kinds := range [][2]*panelLoops{{t.got.shorts, genericShorts()}, {t.got.bytes, genericBytes()}} {
		ours, twin := kinds[0], kinds[1]
		for h := 1; h <= maxHeight; h++ {
			if slices.Contains(ours.heights[:], h) {
				if err := t.panelTiles(ours, twin, h, np, nblk); err != nil {
					return fmt.Errorf("%d words to 32 numbers, tiles of height %d: %w", ours.words, h, err)
				}
			}
		}
		for h := 1; h <= laneMost; h++ {
			if err := t.panelLanes(ours, twin, h, np, nblk); err != nil {
				return fmt.Errorf("%d words to 32 numbers, %d rows: %w", ours.words, h, err)
			}
		}
	}
	return t.shortColumns(t.got.shorts, genericShorts(), nblk)
}

// panelActivations makes rows rows, and compares them, the same bits.
func (t *trial) panelActivations(ours, twin *panelLoops, rows, nblk int) (a []uint32, rs int, err error) {
	n := nblk * ours.block()
	rs = n + 7
	a = t.pairs((rows-1)*rs + n)
	want := make([]uint32, n)
	for r := range rows {
		x := t.float32s(nblk * block)
		ours.round(nblk, &x[0], &a[r*rs])
		twin.round(nblk, &x[0], &want[0])
		if !slices.Equal(a[r*rs:][:n], want) {
			return nil, 0, fmt.Errorf("activations: %w", errTwins)
		}
	}
	return a, rs, nil
}

func (t *trial) panelTiles(ours, twin *panelLoops, h, tiles, nblk int) error {
	a, rs, err := t.panelActivations(ours, twin, tiles*h, nblk)
	if err != nil {
		return err
	}
	ldc, ds, ms := narrow+5, t.float16s(nblk*narrow), t.float16s(nblk*narrow)
	for _, bits := range []int{4, 8} {
		unpack, plain, qs := ours.unpack4, twin.unpack4, t.bytes(nblk*blockBytes(bits))
		if bits == 8 {
			unpack, plain = ours.unpack8, twin.unpack8
		}
		if unpack == nil {
			continue
		}
		for _, least := range []*uint16{nil, &ms[0]} {
			tile, plainTile := ours.tile[h], twin.tile[h]
			if least != nil {
				tile, plainTile = ours.minTile[h], twin.minTile[h]
			}
			b := t.pairs(nblk * ours.panel())
			bt := slices.Clone(b)
			unpack(nblk, &qs[0], &ds[0], least, &b[0])
			plain(nblk, &qs[0], &ds[0], least, &bt[0])
			if !slices.Equal(b, bt) {
				return fmt.Errorf("%d-bit weights: %w", bits, errTwins)
			}
			for add := range 2 {
				got, want := t.outputs((tiles*h-1)*ldc + narrow)
				tile(tiles, nblk, &b[0], &a[0], rs, &got[0], ldc, add)
				plainTile(tiles, nblk, &b[0], &a[0], rs, &want[0], ldc, add)
				if err := near(got, want); err != nil {
					return fmt.Errorf("%d-bit weights: %w", bits, err)
				}
			}
		}
	}
	return nil
}

// panelLanes compares products from packed weights with those of tiles, the same
// bits.
func (t *trial) panelLanes(ours, twin *panelLoops, h, np, nblk int) error {
	a, rs, err := t.panelActivations(ours, twin, h, nblk)
	if err != nil {
		return err
	}
	ldc, ds, ms := np*narrow+3, t.float16s(np*nblk*narrow), t.float16s(np*nblk*narrow)
	panel := make([]uint32, nblk*ours.panel())
	for _, f := range []form{zeroForm4, minForm4, zeroForm8, minForm8} {
		size, unpack, tile := blockBytes(f.bits()), ours.unpack4, ours.tile[h]
		if f.bits() == 8 {
			unpack = ours.unpack8
		}
		if unpack == nil {
			continue
		}
		qs, least := t.bytes(np*nblk*size), (*uint16)(nil)
		if f.minima() {
			tile, least = ours.minTile[h], &ms[0]
		}
		got, want := t.outputs((h-1)*ldc + np*narrow)
		ours.lanes(f)[h](np, nblk, &qs[0], &ds[0], least, &a[0], rs, &got[0], ldc)
		for p := range np {
			unpack(nblk, &qs[p*nblk*size], &ds[p*nblk*narrow], at(least, p*nblk*narrow), &panel[0])
			tile(1, nblk, &panel[0], &a[0], rs, &want[p*narrow], ldc, 0)
		}
		if err := same(got, want, fmt.Sprintf("%d-bit weights", f.bits())); err != nil {
			return err
		}
	}
	return nil
}

// shortColumns compares the blocks that weights become in the backward.
func (t *trial) shortColumns(ours, twin *panelLoops, nblk int) error {
	step := nblk*ours.panel() + 16
	src, got := t.float32s(nblk*block*block), t.pairs(step+nblk*ours.panel())
	want := slices.Clone(got)
	ours.columns(nblk, &src[0], &got[0], step)
	twin.columns(nblk, &src[0], &want[0], step)
	if !slices.Equal(got, want) {
		return fmt.Errorf("weights in the backward: %w", errTwins)
	}
	return nil
}
