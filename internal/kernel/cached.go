package kernel

import (
	"fmt"
	"math"
	"runtime"
	"unsafe"

	"afina/internal/quant"
)

// PageKeys is how many positions of a sequence one Page holds.
const PageKeys = panel

// Keeping is how keys and values are kept for the tokens to come.
type Keeping struct {
	Layers int
	Heads  Heads
	Half   bool // as 16 bits: bfloat16 on levels with tiles of it, else float16; else float32
}

// Page holds keys and values of PageKeys positions in all layers. Of a layer and
// key head the keys lie transposed, so that scores need not turn them:
//
//	(Layers, KV, 2): keys (Dim, PageKeys), values (PageKeys, Dim)
//
// Tiles of bfloat16 lie as attendLoops reads a strip instead.
type Page struct {
	full   []float32
	half   []uint16
	paired bool // half is tiles of bfloat16, else float16
}

// NewPage returns a page of any content, outside the Go heap.
func (g *Gang) NewPage(k Keeping) (*Page, error) {
	b, release, err := g.pages.take(int(k.PageBytes()))
	if err != nil {
		return nil, fmt.Errorf("make room for keys and values: %w", err)
	}
	p := &Page{paired: g.pairedPages(k)}
	if k.Half {
		p.half = unsafe.Slice((*uint16)(unsafe.Pointer(&b[0])), len(b)/2)
	} else {
		p.full = unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), len(b)/4)
	}
	runtime.AddCleanup(p, func(free func()) { free() }, release)
	return p, nil
}

// size is how many numbers the keys of one head have in a page.
func (k Keeping) size() int { return k.Heads.Dim * PageKeys }

// PageBytes is the memory of one page.
func (k Keeping) PageBytes() int64 {
	n := int64(k.Layers*k.Heads.KV*2) * int64(k.size())
	if k.Half {
		return 2 * n
	}
	return 4 * n
}

// at is where the keys of a head begin in a page; its values follow them.
func (k Keeping) at(layer, kv int) int { return (layer*k.Heads.KV + kv) * 2 * k.size() }

// Copy makes p hold what o holds.
func (p *Page) Copy(o *Page) {
	copy(p.full, o.full)
	copy(p.half, o.half)
	runtime.KeepAlive(p)
	runtime.KeepAlive(o)
}

// Lane is one query token of a sequence whose keys and values are kept.
type Lane struct {
	Pages []*Page // of its sequence; lanes of one sequence share the slice
	Len   int     // how many positions it sees, its own the last of them
}

func (l Lane) follows(o Lane) bool { return &l.Pages[0] == &o.Pages[0] }

// Remember keeps the keys and values of the lanes' own positions.
//
//	k, v are (len(lanes), KV*Dim)
func (g *Gang) Remember(k, v []float32, lanes []Lane, layer int, keep Keeping) {
	h := keep.Heads
	mustHold("k of Remember", len(k), len(lanes)*h.KV*h.Dim)
	mustHold("v of Remember", len(v), len(lanes)*h.KV*h.Dim)
	checkLanes(lanes, keep)
	g.spanRows(len(lanes), 8*h.KV*h.Dim, func(lo, hi int) {
		var half [256]uint16
		for i := lo; i < hi; i++ {
			pos := lanes[i].Len - 1
			page, slot := lanes[i].Pages[pos/PageKeys], pos%PageKeys
			for kv := range h.KV {
				from := (i*h.KV + kv) * h.Dim
				to := keep.at(layer, kv)
				switch {
				case page.paired:
					g.keepPairs(page.half[to:to+2*keep.size()], k[from:from+h.Dim], v[from:from+h.Dim], slot, half[:])
				case keep.Half:
					keepHalf(g.half, page.half[to:to+2*keep.size()], k[from:from+h.Dim], v[from:from+h.Dim], slot, half[:])
				default:
					keepFull(page.full[to:to+2*keep.size()], k[from:from+h.Dim], v[from:from+h.Dim], slot)
				}
			}
		}
	})
	runtime.KeepAlive(lanes)
}

func keepFull(to, k, v []float32, slot int) {
	for i, x := range k {
		to[i*PageKeys+slot] = x
	}
	copy(to[(PageKeys+slot)*len(k):], v)
}

func keepHalf(h *halves, to []uint16, k, v []float32, slot int, buffer []uint16) {
	d := len(k)
	if len(buffer) < d {
		buffer = make([]uint16, d)
	}
	h.halve(buffer[:d], k)
	column := to[slot:]
	for b := buffer[:d]; len(b) >= 4; b = b[4:] { // four at a time: one check of the bounds for all
		c := column[: 3*PageKeys+1 : 3*PageKeys+1]
		c[0], c[PageKeys], c[2*PageKeys], c[3*PageKeys] = b[0], b[1], b[2], b[3]
		column = column[4*PageKeys:]
	}
	for i := d &^ 3; i < d; i++ {
		to[i*PageKeys+slot] = buffer[i]
	}
	h.halve(to[(PageKeys+slot)*d:][:d], v)
}

// AttentionCached computes attention of row i of q over what lanes[i] sees in
// one layer.
//
//	q, out are (len(lanes), Query*Dim)
//
// The result of a lane does not depend on the other lanes.
func (g *Gang) AttentionCached(out, q []float32, lanes []Lane, layer int, keep Keeping) {
	h := keep.Heads
	checkLanes(lanes, keep)
	mustHold("q of AttentionCached", len(q), len(lanes)*h.Query*h.Dim)
	mustHold("out of AttentionCached", len(out), len(lanes)*h.Query*h.Dim)
	switch paired := len(lanes) > 0 && lanes[0].Pages[0].paired; {
	case paired && g.attending() != nil:
		g.cachedPairs(out, q, lanes, layer, keep)
		runtime.KeepAlive(lanes)
		return
	case g.tiled(h) && !paired:
		g.cachedTiles(out, q, lanes, layer, keep)
		runtime.KeepAlive(lanes)
		return
	}
	g.span(len(lanes)*h.Query, 1, func(i, _ int) {
		cachedGeneric(out, q, lanes[i/h.Query], i/h.Query, i%h.Query, layer, keep)
	})
}

func checkLanes(lanes []Lane, keep Keeping) {
	keep.Heads.check()
	for i, l := range lanes {
		if l.Len < 1 || l.Len > len(l.Pages)*PageKeys {
			panic(fmt.Sprintf("kernel: lane %d sees %d positions in %d pages", i, l.Len, len(l.Pages)))
		}
	}
}

// key and value are number i of a position of a head, whose keys begin at element
// at.
func (p *Page) key(at, i, slot int) float64 {
	if p.paired {
		word, part := rowWord(slot, i)
		return p.number(at + 2*word + part)
	}
	return p.number(at + i*PageKeys + slot)
}

func (p *Page) value(at, i, slot, dim int) float64 {
	if p.paired {
		return p.number(at + (dim+i)*PageKeys + slot)
	}
	return p.number(at + (PageKeys+slot)*dim + i)
}

// number is element i of a page.
func (p *Page) number(i int) float64 {
	switch {
	case p.paired:
		return float64(math.Float32frombits(uint32(p.half[i]) << 16))
	case p.half != nil:
		return float64(quant.F16ToF32(p.half[i]))
	}
	return float64(p.full[i])
}

// cachedGeneric computes one head of one lane.
func cachedGeneric(out, q []float32, l Lane, row, head, layer int, keep Keeping) {
	h := keep.Heads
	d, at := h.Dim, keep.at(layer, head/(h.Query/h.KV))
	qi := q[(row*h.Query+head)*d:][:d]
	scores, top := make([]float64, l.Len), math.Inf(-1)
	for j := range scores {
		page, dot := l.Pages[j/PageKeys], 0.0
		for i, x := range qi {
			dot += float64(x) * page.key(at, i, j%PageKeys)
		}
		scores[j] = float64(h.Scale) * dot
		top = max(top, scores[j])
	}
	sum, acc := 0.0, make([]float64, d)
	for j, s := range scores {
		page, p := l.Pages[j/PageKeys], math.Exp(s-top)
		sum += p
		for i := range acc {
			acc[i] += p * page.value(at, i, j%PageKeys, d)
		}
	}
	for i, x := range acc {
		out[(row*h.Query+head)*d+i] = float32(x / sum)
	}
}
