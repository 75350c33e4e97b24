package data

import (
	"regexp"
	"slices"
	"unicode/utf8"

	"afina/internal/chat"
	"afina/internal/model"
)

// Distribution summarises a list of counts.
type Distribution struct {
	Mean   float64 `json:"mean"`
	Median float64 `json:"median"`
	P95    float64 `json:"p95"`
	Max    int     `json:"max"`
	// Histogram counts values in buckets [Edges[i], Edges[i+1]).
	Edges  []int `json:"edges"`
	Counts []int `json:"counts"`
}

// Stats describe a dataset; the token figures are there when a model was given.
type Stats struct {
	Conversations int `json:"conversations"`
	Turns         int `json:"turns"` // assistant answers
	WithSystem    int `json:"with_system"`
	Duplicates    int `json:"duplicates"`   // conversations equal to an earlier one
	SpecialText   int `json:"special_text"` // contents in which a control token is spelled out

	QuestionChars  Distribution  `json:"question_characters"`
	AnswerChars    Distribution  `json:"answer_characters"`
	Model          string        `json:"model,omitempty"`
	QuestionTokens *Distribution `json:"question_tokens,omitempty"`
	AnswerTokens   *Distribution `json:"answer_tokens,omitempty"`
	TotalTokens    *Distribution `json:"conversation_tokens,omitempty"`
	MaxLength      int           `json:"max_length,omitempty"`
	TooLong        int           `json:"longer_than_max_length"`
	LearnedShare   float64       `json:"trained_token_share,omitempty"`
	Train          int           `json:"train_conversations"`
	Test           int           `json:"test_conversations"`
}

// controlText is what control tokens of the common families look like, for
// when no model says which ones it has.
var controlText = regexp.MustCompile(`<\|[^|<>\s]+\|>|</?s>|<(?:start|end)_of_turn>|\[/?INST\]`)

// counts are the lists that Describe summarises.
type counts struct {
	questions, answers             []int // characters
	questionTokens, answerTokens   []int
	totals                         []int // tokens per conversation, uncut
	learned, tokens, long, special int
}

// Describe counts. m may be nil: then there are no token figures. Characters
// are Unicode's code points; maxLength 0 means that no conversation is too long.
func Describe(all []chat.Conversation, m *model.Model, maxLength int, held float64, seed uint64) (Stats, error) {
	s := Stats{Conversations: len(all), Duplicates: len(all) - len(distinct(all))}
	train, test := Split(all, held, seed)
	s.Train, s.Test = len(train), len(test)
	var n counts
	for i, c := range all {
		if len(c.Messages) > 0 && c.Messages[0].Role == chat.System {
			s.WithSystem++
		}
		for _, msg := range c.Messages {
			n.message(msg, m)
		}
		if m == nil {
			continue
		}
		if err := n.conversation(c, m, maxLength); err != nil {
			return Stats{}, about(i, err)
		}
	}
	s.Turns, s.SpecialText = len(n.answers), n.special
	s.QuestionChars, s.AnswerChars = distribution(n.questions), distribution(n.answers)
	if m == nil {
		return s, nil
	}
	questions, answers, totals := distribution(n.questionTokens), distribution(n.answerTokens), distribution(n.totals)
	s.Model, s.MaxLength, s.TooLong = m.Name, maxLength, n.long
	s.QuestionTokens, s.AnswerTokens, s.TotalTokens = &questions, &answers, &totals
	if n.tokens > 0 {
		s.LearnedShare = float64(n.learned) / float64(n.tokens)
	}
	return s, nil
}

// message counts one turn.
func (n *counts) message(msg chat.Message, m *model.Model) {
	tokens := 0
	if m == nil {
		if controlText.MatchString(msg.Content) {
			n.special++
		}
	} else {
		if _, _, size := m.Tokens.Marker(msg.Content); size > 0 {
			n.special++
		}
		tokens = len(m.Tokens.Encode(nil, msg.Content, false))
	}
	switch characters := utf8.RuneCountInString(msg.Content); msg.Role {
	case chat.User:
		n.questions = append(n.questions, characters)
		n.questionTokens = append(n.questionTokens, tokens)
	case chat.Assistant:
		n.answers = append(n.answers, characters)
		n.answerTokens = append(n.answerTokens, tokens)
	}
}

// conversation counts a whole conversation as it is laid out.
func (n *counts) conversation(c chat.Conversation, m *model.Model, maxLength int) error {
	seq, err := m.Template.Lay(m.Tokens, c, false)
	if err != nil {
		return err
	}
	n.totals = append(n.totals, len(seq.Tokens))
	if maxLength > 0 && len(seq.Tokens) > maxLength {
		n.long++
		seq.Tokens, seq.Learn = seq.Tokens[:maxLength], seq.Learn[:maxLength]
	}
	n.learned += learned(seq)
	n.tokens += len(seq.Tokens)
	return nil
}

// buckets is how many bars a histogram has at most.
const buckets = 20

// distribution summarises values: the median is the middle one, or the mean of
// the two; the 95th percentile is the least value that 95 % do not exceed.
func distribution(values []int) Distribution {
	d := Distribution{Edges: []int{}, Counts: []int{}}
	n := len(values)
	if n == 0 {
		return d
	}
	sorted := slices.Sorted(slices.Values(values))
	sum := 0
	for _, v := range sorted {
		sum += v
	}
	d.Mean = float64(sum) / float64(n)
	d.Median = float64(sorted[(n-1)/2]+sorted[n/2]) / 2
	d.P95 = float64(sorted[(95*n+99)/100-1])
	d.Max = sorted[n-1]

	least := sorted[0]
	width := step(d.Max - least + 1)
	start := least / width * width
	for edge := start; ; edge += width {
		d.Edges = append(d.Edges, edge)
		if edge > d.Max {
			break
		}
		d.Counts = append(d.Counts, 0)
	}
	for _, v := range sorted {
		d.Counts[(v-start)/width]++
	}
	return d
}

// step returns 1, 2 or 5 times a power of ten, such that span takes no more
// than buckets-1 of it: one more may be needed for the odd start.
func step(span int) int {
	for unit := 1; ; unit *= 10 {
		for _, f := range []int{1, 2, 5} {
			if unit*f*(buckets-1) >= span {
				return unit * f
			}
		}
	}
}
