package engine

// Prompt-lookup decoding: what followed the last few tokens when they came
// before, in the prompt or the answer, is tried as what follows now. The tokens
// tried are run in one pass and each drawn as ever, from the logits of its own
// row; the first that differs from what was tried ends the trial. So the answer
// is the same, greedy or drawn by lot: only the number of passes changes.

// gram is how many tokens must come again.
const gram = 3

// lookup finds what followed tokens before, and knows how well that went.
type lookup struct {
	after   map[[gram]int32]int // where the text goes on after a gram
	indexed int                 // tokens whose grams are in the index
	trust   float64             // the chance that a tried token is right
	tried   []int32
}

// startTrust is what a request is trusted before anything was tried.
const startTrust = 0.6

// find sets tried to at most limit tokens that may follow.
func (l *lookup) find(tokens []int32, limit int) {
	l.tried = l.tried[:0]
	if limit < 1 || len(tokens) < gram+1 {
		return
	}
	if l.after == nil {
		l.after, l.trust = map[[gram]int32]int{}, startTrust
	}
	// The last gram is left out: it would find itself.
	for ; l.indexed+gram < len(tokens); l.indexed++ {
		l.after[[gram]int32(tokens[l.indexed:])] = l.indexed + gram
	}
	if at, ok := l.after[[gram]int32(tokens[len(tokens)-gram:])]; ok {
		l.tried = append(l.tried, tokens[at:min(at+limit, len(tokens))]...)
	}
}

// learn takes into account that of the tokens tried the first right were right,
// and the next, if any, was wrong.
func (l *lookup) learn(right int) {
	for range right {
		l.trust += (1 - l.trust) * 0.15
	}
	if right < len(l.tried) {
		l.trust -= l.trust * 0.25
	}
}

// rest lets the trust come back slowly, for a text that changes its kind.
func (l *lookup) rest() { l.trust += (startTrust - l.trust) * 0.01 }

// cost is what passes that only write have taken: seconds = fixed + row·rows,
// a straight line through the latest, older ones counting less.
type cost struct {
	weight, rows, seconds, square, product float64
}

const forgetting = 0.98

// add takes a pass into account.
func (c *cost) add(rows int, seconds float64) {
	n := float64(rows)
	c.weight = c.weight*forgetting + 1
	c.rows = c.rows*forgetting + n
	c.seconds = c.seconds*forgetting + seconds
	c.square = c.square*forgetting + n*n
	c.product = c.product*forgetting + n*seconds
}

// share is the cost of one more row in parts of a pass of so many rows. Before
// passes of several sizes are known it is taken to be a quarter of a pass of one.
func (c *cost) share(rows int) float64 {
	spread := c.weight*c.square - c.rows*c.rows
	if c.weight < 2 || spread < 0.01*c.weight*c.weight {
		return 0.25 / (0.75 + 0.25*float64(rows))
	}
	slope := (c.weight*c.product - c.rows*c.seconds) / spread
	fixed := (c.seconds - slope*c.rows) / c.weight
	whole := fixed + slope*float64(rows)
	if slope <= 0 || whole <= slope {
		return 1 / float64(rows+1) // noise; as if nothing were fixed
	}
	return slope / whole
}

// worth is how many tokens to try for a request of that trust in a pass that has
// rows rows and brings tokens tokens without: one more pays while the chance that
// it is right is more than what its row costs of the tokens of a pass.
func (c *cost) worth(trust float64, rows, tokens, limit int) int {
	n, chance := 0, trust
	for n < limit && chance > c.share(rows+n)*float64(tokens)*1.1 {
		n++
		chance *= trust
	}
	return n
}
