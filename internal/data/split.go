package data

import (
	"math"
	"math/bits"
	"slices"
	"strings"

	"afina/internal/chat"
)

// Split deals conversations into a training and a held-out part: equal seeds
// give equal splits, and duplicates of one conversation fall on one side. With
// held > 0 and at least two distinct conversations both parts are non-empty.
// The results are indexes into all, ascending.
func Split(all []chat.Conversation, held float64, seed uint64) (train, test []int) {
	groups := distinct(all)
	// At least one conversation is held out; some remain for training.
	want := int(math.Round(held * float64(len(all))))
	if held > 0 && want == 0 {
		want = 1
	}
	order := permutation(len(groups), random(seed))
	kept := 0 // groups that stay for training
	for k, g := range order {
		if len(test) >= want || k == len(order)-1 && kept == 0 {
			kept++
			train = append(train, groups[g]...)
		} else {
			test = append(test, groups[g]...)
		}
	}
	slices.Sort(train)
	slices.Sort(test)
	return train, test
}

// distinct returns the indexes of equal conversations together, in order of
// their first.
func distinct(all []chat.Conversation) [][]int {
	var groups [][]int
	at := make(map[string]int, len(all))
	for i, c := range all {
		k := key(c)
		g, ok := at[k]
		if !ok {
			g = len(groups)
			at[k] = g
			groups = append(groups, nil)
		}
		groups[g] = append(groups[g], i)
	}
	return groups
}

// key is equal for equal conversations only: no role or content that Read
// accepts has a NUL.
func key(c chat.Conversation) string {
	var b strings.Builder
	for _, m := range c.Messages {
		b.WriteString(string(m.Role))
		b.WriteByte(0)
		b.WriteString(m.Content)
		b.WriteByte(0)
	}
	return b.String()
}

// random is SplitMix64 (Steele, Lea & Flood 2014, doi:10.1145/2660193.2660195).
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number in [0, n), each as likely (Lemire 2019,
// arXiv:1805.10941).
func (r *random) below(n uint64) uint64 {
	for {
		high, low := bits.Mul64(r.next(), n)
		if low >= n || low >= -n%n {
			return high
		}
	}
}

// permutation shuffles 0 … n-1 (Fisher & Yates, in Durstenfeld's form).
func permutation(n int, r random) []int {
	p := make([]int, n)
	for i := range p {
		p[i] = i
	}
	for i := n - 1; i > 0; i-- {
		j := int(r.below(uint64(i) + 1))
		p[i], p[j] = p[j], p[i]
	}
	return p
}
