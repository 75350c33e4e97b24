package evaluate

import "afina/internal/lint"

// Marks are what the answers of one model come to. A share is null when there is
// nothing to take it of.
type Marks struct {
	Questions int         `json:"questions"`
	Graded    int         `json:"graded"` // whose reference comes to a formula
	Claims    lint.Counts `json:"claims"`

	Right     *Estimate `json:"right"`     // share of the graded answers
	Undecided *Estimate `json:"undecided"` // of the graded answers
	True      *Estimate `json:"true"`      // share of the claims
	False     *Estimate `json:"false"`     // of the claims
	Unknown   *Estimate `json:"unknown"`   // of the claims
	Malformed *Estimate `json:"malformed"` // of the claims
	Refusal   *Estimate `json:"refusal"`   // share of the answers
	Empty     *Estimate `json:"empty"`     // of the answers
}

// measure is a share that answers have: what one adds to it.
type measure struct {
	name string
	of   func(Answer) part
}

// measures are all shares, in the order of the reports.
func measures() []measure {
	claims := func(count func(lint.Counts) int) func(Answer) part {
		return func(a Answer) part { return part{float64(count(a.Claims)), float64(a.Claims.Claims)} }
	}
	graded := func(g Grade) func(Answer) part {
		return func(a Answer) part { return part{one(a.Grade == g), one(a.Grade != Ungraded)} }
	}
	return []measure{
		{"right", graded(Right)},
		{"undecided", graded(Undecided)},
		{"true", claims(func(c lint.Counts) int { return c.True })},
		{"false", claims(func(c lint.Counts) int { return c.False })},
		{"unknown", claims(func(c lint.Counts) int { return c.Unknown })},
		{"malformed", claims(func(c lint.Counts) int { return c.Malformed })},
		{"refusal", func(a Answer) part { return part{one(a.Refusal), 1} }},
		{"empty", func(a Answer) part { return part{one(a.Empty), 1} }},
	}
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// parts is what each answer adds to a measure.
func (m measure) parts(answers []Answer) []part {
	all := make([]part, len(answers))
	for i, a := range answers {
		all[i] = m.of(a)
	}
	return all
}

// figures are the estimates by the names of the measures.
func (m *Marks) figures() map[string]**Estimate {
	return map[string]**Estimate{
		"right": &m.Right, "undecided": &m.Undecided, "true": &m.True, "false": &m.False,
		"unknown": &m.Unknown, "malformed": &m.Malformed, "refusal": &m.Refusal, "empty": &m.Empty,
	}
}

// Mark sums up answers. Equal seeds give equal intervals.
func Mark(answers []Answer, seed int64) *Marks {
	m := &Marks{Questions: len(answers)}
	for _, a := range answers {
		if a.Grade != Ungraded {
			m.Graded++
		}
		m.Claims.Answers++
		m.Claims.Claims += a.Claims.Claims
		m.Claims.True += a.Claims.True
		m.Claims.False += a.Claims.False
		m.Claims.Unknown += a.Claims.Unknown
		m.Claims.Malformed += a.Claims.Malformed
	}
	figures := m.figures()
	for _, x := range measures() {
		*figures[x.name] = estimate(x.parts(answers), seed)
	}
	return m
}

// Gain is the paired difference of two models' answers to the same questions.
type Gain struct {
	Right *Estimate `json:"right"`
	False *Estimate `json:"false"`
}

func gain(after, before []Answer, seed int64) *Gain {
	paired := func(name string) *Estimate {
		for _, x := range measures() {
			if x.name == name {
				return difference(x.parts(after), x.parts(before), seed)
			}
		}
		panic("evaluate: no measure " + name)
	}
	return &Gain{Right: paired("right"), False: paired("false")}
}
