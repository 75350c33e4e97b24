package forward

import (
	"fmt"

	"afina/internal/kernel"
)

// PageTokens is how many positions of a sequence one page holds.
const PageTokens = kernel.PageKeys

// Page holds keys and values of PageTokens positions. Sequences that begin alike
// share pages, and who wants to find them again later holds them. Pages belong to
// one Pass and, like it, to one goroutine.
type Page struct {
	cells *kernel.Page
	held  int
}

// slot is the cache of one sequence.
type slot struct {
	pages []*Page
	table []*kernel.Page // the same, for the kernels
	len   int            // positions that are there
	next  int            // what len will be after the running pass
}

// pagesFor is how many pages n positions take.
func pagesFor(n int) int { return (n + PageTokens - 1) / PageTokens }

// grow makes room for next positions: new pages at the end, and a page of its own
// where it will write into one that others hold too.
func (p *Pass) grow(s *slot) error {
	if s.next == s.len {
		return nil
	}
	if at := s.len / PageTokens; s.len%PageTokens != 0 && s.pages[at].held > 1 {
		own, err := p.newPage()
		if err != nil {
			return err
		}
		own.cells.Copy(s.pages[at].cells)
		p.Drop(s.pages[at])
		s.pages[at], s.table[at] = own, own.cells
	}
	for len(s.pages) < pagesFor(s.next) {
		page, err := p.newPage()
		if err != nil {
			return err
		}
		s.pages, s.table = append(s.pages, page), append(s.table, page.cells)
	}
	return nil
}

// Need is how many pages a slot lacks to take n more rows.
func (p *Pass) Need(slot, n int) int {
	s := &p.slots[slot]
	if n == 0 {
		return 0
	}
	need := max(0, pagesFor(s.len+n)-len(s.pages))
	if at := s.len / PageTokens; s.len%PageTokens != 0 && s.pages[at].held > 1 {
		need++
	}
	return need
}

// Each calls f(0) … f(n-1) on the cores of the pass.
func (p *Pass) Each(n int, f func(i int)) { p.gang.Each(n, f) }

// cut lets go of the pages past n positions.
func (p *Pass) cut(s *slot, n int) {
	s.len = min(s.len, n)
	for i := pagesFor(s.len); i < len(s.pages); i++ {
		p.Drop(s.pages[i])
		s.pages[i], s.table[i] = nil, nil
	}
	s.pages, s.table = s.pages[:pagesFor(s.len)], s.table[:pagesFor(s.len)]
}

// newPage returns a page that is held once.
func (p *Pass) newPage() (*Page, error) {
	if n := len(p.free); n > 0 {
		page := p.free[n-1]
		p.free[n-1], p.free = nil, p.free[:n-1]
		page.held = 1
		p.used++
		return page, nil
	}
	cells, err := p.gang.NewPage(p.keep)
	if err != nil {
		return nil, err
	}
	p.used++
	return &Page{cells: cells, held: 1}, nil
}

// freePages is how many pages that nobody holds are kept for the next to ask.
const freePages = 16

// Hold holds a page once more.
func (p *Pass) Hold(page *Page) { page.held++ }

// Drop lets go of a page once; nobody's memory is given back.
func (p *Pass) Drop(page *Page) {
	switch page.held--; {
	case page.held < 0:
		panic("forward: a page is dropped that nobody holds")
	case page.held > 0:
		return
	}
	p.used--
	if len(p.free) < freePages {
		p.free = append(p.free, page)
	}
}

// Pages are the pages of a slot, in order. They stay the slot's; the last may be
// written on, but never the positions it has now.
func (p *Pass) Pages(slot int) []*Page { return p.slots[slot].pages }

// Len is how many positions a slot holds.
func (p *Pass) Len(slot int) int { return p.slots[slot].len }

// Begin makes a slot hold the first n positions of pages, instead of what it held.
func (p *Pass) Begin(slot int, pages []*Page, n int) {
	if n > len(pages)*PageTokens {
		panic(fmt.Sprintf("forward: %d positions in %d pages", n, len(pages)))
	}
	pages = pages[:pagesFor(n)]
	for _, page := range pages {
		p.Hold(page)
	}
	s := &p.slots[slot]
	p.cut(s, 0)
	for _, page := range pages {
		s.pages, s.table = append(s.pages, page), append(s.table, page.cells)
	}
	s.len = n
}

// PageBytes is the memory of one page.
func (p *Pass) PageBytes() int64 { return p.keep.PageBytes() }

// Used is how many pages are held.
func (p *Pass) Used() int { return p.used }

// Bytes is the memory that keys and values take.
func (p *Pass) Bytes() int64 { return int64(p.used+len(p.free)) * p.PageBytes() }
