package kernel

import (
	"fmt"
	"runtime"
)

// MatMulBack adds dy·w to dx, the backward product of MatMul.
//
//	dy is (n, w.Rows)
//	dx is (n, w.Cols)
func (g *Gang) MatMulBack(dx []float32, dy *Operand, w *Matrix) {
	if dy.cols != w.Rows || len(dx) < dy.n*w.Cols {
		panic(fmt.Sprintf("kernel: (%d, %d) times (%d, %d) into %d numbers",
			dy.n, dy.cols, w.Rows, w.Cols, len(dx)))
	}
	switch {
	case dy.n == 0:
	case dy.precision == Exact:
		g.backExact(dx, dy.x, dy.n, w)
	case g.kit.pairs:
		g.rounded(dy)
		g.backPairs(dx, dy, w)
	case g.kit.shorts != nil:
		g.backWords(dx, dy, w)
	default:
		g.backFloats(dx, dy.x, dy.n, w)
	}
	runtime.KeepAlive(w) // its memory goes when nobody refers to it
}

const (
	backRows  = 512  // rows of dx per chunk: each chunk unpacks its weights anew
	backDepth = 1024 // rows of w unpacked at a time: 64 KiB of pairs
	backSweep = 4096 // rows of w per round of chunks, which keeps chunks short
)

// backPairs multiplies in bfloat16. Every chunk turns one block of 32 columns of
// w, some rows at a time, into a panel whose pairs run along the rows.
func (g *Gang) backPairs(dx []float32, dy *Operand, w *Matrix) {
	rounded, stride, n := dy.pairs, dy.stride, dy.n
	for sweep := 0; sweep < w.Rows; sweep += backSweep {
		end := min(sweep+backSweep, w.Rows)
		if g.kit.tiles != nil {
			g.backTiles(dx, rounded, stride, n, w, sweep, end)
			continue
		}
		g.run(newGrid(w.blocks, 1, n, backRows), func(b, _, i0, i1 int) {
			s := g.borrow()
			defer g.giveBack(s)
			panel := s.uint32s(backDepth / 2 * wide)
			for r := sweep; r < end; r += backDepth {
				pairs := g.expand(panel, w, b, r, min(r+backDepth, end))
				g.pairRows(pairs, rounded[r/2:], stride, &panel[0], dx[b*block:], w.Cols, i0, i1, w.Cols-b*block, 1)
			}
		})
	}
}

// backTiles adds the product of columns from … end-1 of dy, in pairs stride apart,
// and the same rows of w.
func (g *Gang) backTiles(dx []float32, dy []uint32, stride, n int, w *Matrix, from, end int) {
	step := densePanels(w.blocks)
	g.run(newGrid(w.blocks, step, n, 1024), func(b0, b1, i0, i1 int) {
		s := g.borrow()
		defer g.giveBack(s)
		room := s.uint32s(step * tileDepth / 2 * wide)
		for r := from; r < end; r += tileDepth {
			to := min(r+tileDepth, end)
			k2 := (to - r + block - 1) / block * tileRows
			for b := b0; b < b1; b++ {
				panel := room[(b-b0)*k2*wide:][:k2*wide]
				clear(panel[g.expand(panel, w, b, r, to)*wide:]) // tiles are whole along k
			}
			whole := min(b1, w.Cols/wide) - b0
			for i := i0; i < i1; i += tileGroup {
				stop := min(i+tileGroup, i1)
				if whole > 0 {
					g.kit.tiles.pairRows(whole, k2, dy[r/2:], stride, &room[0], k2*wide, dx[b0*block:], w.Cols, i, stop, 1)
				}
				if b0+whole < b1 {
					g.pairRows(k2, dy[r/2:], stride, &room[whole*k2*wide], dx[(b0+whole)*block:], w.Cols, i, stop, w.Cols%wide, 1)
				}
			}
		}
	})
}

// expand writes rows from … to-1 of column block b of w to panel (pairs, 32),
// in bfloat16 pairs along the rows, and returns how many pairs there are.
func (g *Gang) expand(panel []uint32, w *Matrix, b, from, to int) (pairs int) {
	if w.form == pairForm {
		p, np, depth := from/wide, (to-from+wide-1)/wide, w.blocks*block/2
		g.kit.expandPairs(np, &w.pairs[(p*depth+b*block/2)*wide], depth*wide, &panel[0])
		return np * wide / 2
	}
	p, np := from/narrow, (to-from+narrow-1)/narrow
	q, d := w.offsets(p, b)
	f := g.kit.expand4
	if w.form.bits() == 8 {
		f = g.kit.expand8
	}
	f(np, &w.qs[q], w.blocks*blockBytes(w.form.bits()), &w.ds[d], w.minima(d), w.blocks*narrow, &panel[0])
	return np * narrow / 2
}

// backFloats is backPairs in float32, for levels that do not multiply bfloat16.
func (g *Gang) backFloats(dx, dy []float32, n int, w *Matrix) {
	g.run(newGrid(w.blocks, 1, n, backRows), func(b, _, i0, i1 int) {
		s := g.borrow()
		defer g.giveBack(s)
		panel := s.float32s(backDepth * wide)
		for r := 0; r < w.Rows; r += backDepth {
			end := min(r+backDepth, w.Rows)
			g.kit.spread(panel, w, b, r, end)
			g.floatPanel(s, end-r, 1, dy[r:], w.Rows, 1, panel, wide, wide, dx[b*block:], w.Cols, i0, i1, w.Cols-b*block, 1)
		}
	})
}

// spread writes rows from … to-1 of column block b of w to panel (to-from, 32),
// with the rows of the last panel that stand over the edge.
func (kit *products) spread(panel []float32, w *Matrix, b, from, to int) {
	if w.form == pairForm {
		depth := w.blocks * block / 2
		for r := from; r < to; r++ {
			for i := range block / 2 {
				v := w.pairs[(r/wide*depth+b*block/2+i)*wide+r%wide]
				panel[(r-from)*wide+2*i], panel[(r-from)*wide+2*i+1] = unpair(v)
			}
		}
		return
	}
	p, np := from/narrow, (to-from+narrow-1)/narrow
	q, d := w.offsets(p, b)
	f := kit.spread4
	if w.form.bits() == 8 {
		f = kit.spread8
	}
	f(np, &w.qs[q], w.blocks*blockBytes(w.form.bits()), &w.ds[d], w.minima(d), w.blocks*narrow, &panel[0])
}

// matMulExact multiplies float32 activations by the numbers of the file. Each
// chunk reads 32 rows of w.
func (g *Gang) matMulExact(dst []float32, x *Operand, w *Matrix) {
	g.run(newGrid((w.Rows+wide-1)/wide, 1, x.n, 240), func(p, _, i0, i1 int) {
		s := g.borrow()
		defer g.giveBack(s)
		rows := min(wide, w.Rows-p*wide)
		buffer := s.float32s(2 * wide * w.Cols)
		panel, values := buffer[:wide*w.Cols], buffer[wide*w.Cols:]
		for j := range rows {
			w.source.Dequantize(values[j*w.Cols:][:w.Cols], p*wide+j)
		}
		g.kit.transpose(rows, w.Cols, values, w.Cols, panel, wide)
		g.floatPanel(s, w.Cols, 1, x.x, x.cols, 1, panel, wide, wide, dst[p*wide:], w.Rows, i0, i1, rows, 0)
	})
}

// backExact is matMulExact backwards: groups of rows of w are unpacked together
// and multiplied in blocks of columns.
func (g *Gang) backExact(dx, dy []float32, n int, w *Matrix) {
	stride := padded((w.Cols + wide - 1) / wide * wide)
	group := max(32, min(floatDepth, (2<<20)/(4*stride)))
	own := g.borrowOwn()
	defer g.giveBack(own)
	rows := own.float32s(group * stride)
	for r := 0; r < w.Rows; r += group {
		k := min(group, w.Rows-r)
		g.pool.Run((k+7)/8, func(chunk int) {
			for i := chunk * 8; i < min(k, chunk*8+8); i++ {
				w.source.Dequantize(rows[i*stride:][:w.Cols], r+i)
			}
		})
		g.run(newGrid((w.Cols+wide-1)/wide, 1, n, 240), func(p, _, i0, i1 int) {
			s := g.borrow()
			defer g.giveBack(s)
			g.floatPanel(s, k, 1, dy[r:], w.Rows, 1, rows[p*wide:], stride, wide, dx[p*wide:], w.Cols, i0, i1, w.Cols-p*wide, 1)
		})
	}
}
