package data_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/gguf"
	"afina/internal/model"
	"afina/internal/modeltest"
	"afina/internal/tokenizer"
)

// talk is a conversation of the given contents, the user first.
func talk(contents ...string) chat.Conversation {
	var c chat.Conversation
	for i, s := range contents {
		c.Messages = append(c.Messages, chat.Message{Role: []chat.Role{chat.User, chat.Assistant}[i%2], Content: s})
	}
	return c
}

// tiny is a model of which only the words are there.
func tiny(t testing.TB) *model.Model {
	t.Helper()
	f, err := gguf.Open(modeltest.Write(t, modeltest.Shape{}))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := &model.Model{Name: "tiny"}
	if m.Tokens, err = tokenizer.FromGGUF(f.Metadata); err != nil {
		t.Fatal(err)
	}
	if m.Template, err = chat.FromGGUF(f.Metadata, m.Tokens); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.IntRange(0, 20), 0, 60).Draw(t, "words")
		held := rapid.SampledFrom([]float64{0, 0.01, 0.1, 0.5, 0.99, 1}).Draw(t, "held")
		seed := rapid.Uint64().Draw(t, "seed")
		var all []chat.Conversation
		kinds := map[int]bool{}
		for _, w := range words {
			all = append(all, talk(fmt.Sprint(w), "x"))
			kinds[w] = true
		}
		train, test := data.Split(all, held, seed)
		again, _ := data.Split(all, held, seed)
		if !slices.Equal(train, again) {
			t.Fatal("equal seeds, other split")
		}
		if !slices.IsSorted(train) || !slices.IsSorted(test) {
			t.Fatal("not ascending")
		}
		both := slices.Concat(train, test)
		slices.Sort(both)
		for i := range all {
			if i >= len(both) || both[i] != i {
				t.Fatalf("%v and %v are no parts of %d", train, test, len(all))
			}
		}
		side := map[int]string{}
		for name, part := range map[string][]int{"train": train, "test": test} {
			for _, i := range part {
				if side[words[i]] != "" && side[words[i]] != name {
					t.Fatalf("conversation %d is on both sides", words[i])
				}
				side[words[i]] = name
			}
		}
		if len(kinds) >= 2 && held > 0 && (len(train) == 0 || len(test) == 0) {
			t.Fatalf("%d to train on, %d held out", len(train), len(test))
		}
		if held == 0 && len(test) > 0 || len(all) > 0 && len(train) == 0 {
			t.Fatalf("held %v: %d to train on, %d held out", held, len(train), len(test))
		}
	})
}

func TestSplitShare(t *testing.T) {
	var all []chat.Conversation
	for i := range 193 {
		all = append(all, talk(fmt.Sprint(i), "x"))
	}
	train, test := data.Split(all, 0.1, 42)
	if len(train) != 174 || len(test) != 19 {
		t.Errorf("%d and %d, want 174 and 19", len(train), len(test))
	}
	_, other := data.Split(all, 0.1, 43)
	if slices.Equal(test, other) {
		t.Error("two seeds, one split")
	}
	// The order is part of what a checkpoint relies on: it must never change.
	if want := []int{15, 23, 31, 54, 61, 78, 88, 97, 124, 131, 132, 133, 134, 135, 158, 162, 166, 186, 192}; !slices.Equal(test, want) {
		t.Errorf("held out %#v, want %#v", test, want)
	}
}

func TestLay(t *testing.T) {
	m := tiny(t)
	all := []chat.Conversation{talk("hello", "world"), talk("a", strings.Repeat("x", 100)), talk(strings.Repeat("y", 100), "z"), talk("unused", "x")}
	whole, err := data.Lay(m, all, []int{2, 0, 1}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]int{2, 0, 1}, whole.Index); d != "" || whole.Truncated != nil || whole.Empty != nil {
		t.Error(d, whole.Truncated, whole.Empty)
	}
	n := len(whole.Sequences[1].Tokens)
	cut, err := data.Lay(m, all, []int{0, 1, 2}, n)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(cut.Index, []int{0, 1}) || !slices.Equal(cut.Truncated, []int{1}) || !slices.Equal(cut.Empty, []int{2}) {
		t.Errorf("kept %v, cut %v, empty %v", cut.Index, cut.Truncated, cut.Empty)
	}
	if cut.Tokens != 2*n {
		t.Errorf("%d tokens, want %d", cut.Tokens, 2*n)
	}
	learn := 0
	for _, s := range cut.Sequences {
		for _, l := range s.Learn {
			if l {
				learn++
			}
		}
	}
	if cut.Learned != learn || learn == 0 {
		t.Errorf("learned %d, want %d", cut.Learned, learn)
	}
}

// sequences draws sequences of distinct tokens, so that each can be told.
func sequences(t *rapid.T) []chat.Sequence {
	next := int32(0)
	var all []chat.Sequence
	for range rapid.IntRange(0, 20).Draw(t, "sequences") {
		var s chat.Sequence
		for range rapid.IntRange(2, 12).Draw(t, "tokens") {
			s.Tokens = append(s.Tokens, next)
			s.Learn = append(s.Learn, rapid.Bool().Draw(t, "learn"))
			next++
		}
		s.Learn[len(s.Learn)-1-rapid.IntRange(0, len(s.Learn)-2).Draw(t, "last")] = true
		all = append(all, s)
	}
	return all
}

// checkBatch says what is wrong with a batch, and returns the learned tokens.
func checkBatch(t *rapid.T, b data.Batch) (learned []int32) {
	n := len(b.Tokens)
	if n == 0 || len(b.Targets) != n || len(b.First) != n || len(b.Pos) != n {
		t.Fatalf("lengths %d %d %d %d", n, len(b.Targets), len(b.First), len(b.Pos))
	}
	for i := range n {
		if b.Pos[i] != int32(i)-b.First[i] || b.Pos[i] < 0 {
			t.Fatalf("token %d: first %d, position %d", i, b.First[i], b.Pos[i])
		}
		if b.Pos[i] > 0 && (b.First[i] != b.First[i-1] || b.Tokens[i] != b.Tokens[i-1]+1) {
			t.Fatalf("token %d belongs to another sequence", i)
		}
		if b.Targets[i] >= 0 {
			if b.Targets[i] != b.Tokens[i]+1 {
				t.Fatalf("target of %d is %d", b.Tokens[i], b.Targets[i])
			}
			learned = append(learned, b.Targets[i])
		}
	}
	if b.Counted != len(learned) {
		t.Fatalf("counted %d, want %d", b.Counted, len(learned))
	}
	return learned
}

// toLearn is every learned token that has one before it.
func toLearn(seqs []chat.Sequence) (all []int32) {
	for _, s := range seqs {
		for i := 1; i < len(s.Tokens); i++ {
			if s.Learn[i] {
				all = append(all, s.Tokens[i])
			}
		}
	}
	return all
}

func TestPack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seqs := sequences(t)
		limit := rapid.IntRange(0, 40).Draw(t, "limit")
		var got []int32
		for _, b := range data.Pack(seqs, limit) {
			got = append(got, checkBatch(t, b)...)
			single := b.First[len(b.First)-1] == 0
			if limit > 0 && len(b.Tokens) > limit && !single {
				t.Fatalf("%d tokens in a batch of at most %d", len(b.Tokens), limit)
			}
		}
		if !slices.Equal(got, toLearn(seqs)) {
			t.Fatalf("learned %v, want %v", got, toLearn(seqs))
		}
	})
}

func TestPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seqs := sequences(t)
		p := data.Plan{
			BatchSize:  rapid.IntRange(1, 5).Draw(t, "batch"),
			Accumulate: rapid.IntRange(1, 4).Draw(t, "accumulate"),
			Epochs:     rapid.IntRange(0, 3).Draw(t, "epochs"),
			MaxTokens:  rapid.SampledFrom([]int{0, 1, 15}).Draw(t, "max"),
			Seed:       rapid.Uint64().Draw(t, "seed"),
		}
		per := (len(seqs) + p.BatchSize*p.Accumulate - 1) / (p.BatchSize * p.Accumulate)
		if got, want := p.Steps(len(seqs)), per*p.Epochs; got != want {
			t.Fatalf("%d steps, want %d", got, want)
		}
		want := toLearn(seqs)
		for epoch := range p.Epochs {
			var got []int32
			for i := epoch * per; i < (epoch+1)*per; i++ {
				s := p.Step(seqs, i)
				tokens, counted := 0, 0
				for _, b := range s.Batches {
					got = append(got, checkBatch(t, b)...)
					tokens, counted = tokens+len(b.Tokens), counted+b.Counted
				}
				if s.Epoch != epoch || s.Tokens != tokens || s.Counted != counted {
					t.Fatalf("step %d: %+v", i, s)
				}
				if p.MaxTokens == 0 && len(s.Batches) > p.Accumulate {
					t.Fatalf("%d batches in a step of %d", len(s.Batches), p.Accumulate)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatalf("epoch %d learned %v, want %v", epoch, got, want)
			}
		}
	})
}

// TestShare lays sequences with common beginnings with and without sharing: both
// hold the same sequences, and shared tokens never foretell a learned one.
func TestShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var seqs []chat.Sequence
		heads := [][]int32{{}, {7, 8, 9, 10}, {7, 8, 9, 11, 12}, {5, 5, 5}}
		for range rapid.IntRange(1, 12).Draw(t, "sequences") {
			head := rapid.SampledFrom(heads).Draw(t, "head")
			s := chat.Sequence{Tokens: slices.Clone(head), Learn: make([]bool, len(head))}
			for range rapid.IntRange(2, 6).Draw(t, "tokens") {
				s.Tokens = append(s.Tokens, rapid.Int32Range(0, 2).Draw(t, "token"))
				s.Learn = append(s.Learn, rapid.Bool().Draw(t, "learn"))
			}
			s.Learn[len(s.Learn)-1] = true
			seqs = append(seqs, s)
		}
		p := data.Plan{BatchSize: len(seqs), Epochs: 1, MaxTokens: rapid.SampledFrom([]int{0, 9, 20}).Draw(t, "max")}
		plain := p.Step(seqs, 0)
		p.Share = true
		shared := p.Step(seqs, 0)
		if plain.Tokens != shared.Tokens {
			t.Fatalf("%d tokens shared, %d plain", shared.Tokens, plain.Tokens)
		}
		if d := cmp.Diff(unfolded(plain.Batches), unfolded(shared.Batches)); d != "" {
			t.Fatal(d)
		}
		for _, b := range shared.Batches {
			seen := map[int32]bool{}
			for _, i := range b.Shared {
				if seen[i] && b.Targets[i] >= 0 {
					t.Fatalf("token %d of %+v is shared and foretells %d", i, b, b.Targets[i])
				}
				seen[i] = true
			}
			if p.MaxTokens > 0 && b.Shared != nil && len(b.Shared) > max(len(b.Tokens), 2*p.MaxTokens) {
				t.Fatalf("%d places", len(b.Shared))
			}
		}
	})
}

// unfolded are the sequences of batches, each as its tokens, targets and positions.
func unfolded(batches []data.Batch) (all [][][3]int32) {
	for _, b := range batches {
		for i, first := range b.First {
			token := int32(i)
			if b.Shared != nil {
				token = b.Shared[i]
			}
			if int(first) == i {
				all = append(all, nil)
			}
			last := &all[len(all)-1]
			*last = append(*last, [3]int32{b.Tokens[token], b.Targets[token], b.Pos[token]})
		}
	}
	return all
}

// TestShareSaves: a beginning that all sequences have is in the batch once, and
// one that is too short to pay is not shared.
func TestShareSaves(t *testing.T) {
	var seqs []chat.Sequence
	for i := range int32(4) {
		seqs = append(seqs, chat.Sequence{Tokens: []int32{1, 2, 3, 4, 10 + i, 20, 30}, Learn: []bool{false, false, false, false, false, true, true}})
	}
	p := data.Plan{BatchSize: 2, Accumulate: 2, Epochs: 1, MaxTokens: 100, Share: true}
	s := p.Step(seqs, 0)
	if len(s.Batches) != 1 || len(s.Batches[0].Tokens) != 4+4*2 || len(s.Batches[0].Shared) != 4*6 || s.Counted != 8 {
		t.Errorf("got %+v", s)
	}
	for i := range seqs {
		seqs[i].Tokens = append([]int32{1, int32(40 + i)}, seqs[i].Tokens...)
		seqs[i].Learn = append([]bool{false, true}, seqs[i].Learn...)
	}
	if s := p.Step(seqs, 0); len(s.Batches) != 1 || s.Batches[0].Shared != nil {
		t.Errorf("got %+v", s)
	}
}

// TestPlanOrder pins the order of training: a resumed job depends on it.
func TestPlanOrder(t *testing.T) {
	var seqs []chat.Sequence
	for i := range int32(10) {
		seqs = append(seqs, chat.Sequence{Tokens: []int32{i, 100}, Learn: []bool{false, true}})
	}
	p := data.Plan{BatchSize: 10, Accumulate: 1, Epochs: 2, Seed: 42}
	want := [][]int32{{1, 7, 2, 5, 6, 4, 0, 9, 8, 3}, {3, 5, 8, 2, 1, 9, 7, 0, 4, 6}}
	for i := range want {
		if got := p.Step(seqs, i).Batches[0].Tokens; !slices.Equal(got, want[i]) {
			t.Errorf("epoch %d: %v, want %v", i, got, want[i])
		}
	}
	p.Seed = 43
	if got := p.Step(seqs, 0).Batches[0].Tokens; slices.Equal(got, want[0]) {
		t.Error("two seeds, one order")
	}
}

func TestDescribe(t *testing.T) {
	all := []chat.Conversation{
		talk("hello", "ñandú"),
		talk("a", "bb", "ccc", "dddd"),
		talk("hello", "ñandú"),
		{Messages: []chat.Message{{Role: chat.System, Content: "be <|im_end|> kind"}, {Role: chat.User, Content: "hello world"}, {Role: chat.Assistant, Content: "x"}}},
	}
	got, err := data.Describe(all, nil, 512, 0.25, 1)
	if err != nil {
		t.Fatal(err)
	}
	want := data.Stats{
		Conversations: 4, Turns: 5, WithSystem: 1, Duplicates: 1, SpecialText: 1, Train: 3, Test: 1,
		QuestionChars: data.Distribution{Mean: 5, Median: 5, P95: 11, Max: 11},
		AnswerChars:   data.Distribution{Mean: 3.4, Median: 4, P95: 5, Max: 5, Edges: []int{1, 2, 3, 4, 5, 6}, Counts: []int{1, 1, 0, 1, 2}},
	}
	ignore := cmpopts.IgnoreFields(data.Stats{}, "QuestionChars.Edges", "QuestionChars.Counts", "Train", "Test")
	if d := cmp.Diff(want, got, ignore); d != "" {
		t.Error(d)
	}
	if got.Train+got.Test != 4 || got.Test == 0 {
		t.Errorf("train %d, test %d", got.Train, got.Test)
	}

	m := tiny(t)
	laid, err := data.Lay(m, all, []int{0, 1, 2, 3}, 0)
	if err != nil {
		t.Fatal(err)
	}
	got, err = data.Describe(all, m, len(laid.Sequences[0].Tokens), 0.25, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got.Model != "tiny" || got.SpecialText != 1 || got.TooLong != 1 || got.LearnedShare <= 0 || got.LearnedShare >= 1 {
		t.Errorf("%+v", got)
	}
	if got.QuestionTokens.Max != 3 || got.AnswerTokens.Max != 7 || got.TotalTokens.Max != len(laid.Sequences[1].Tokens) {
		t.Errorf("tokens: questions %+v, answers %+v, all %+v", got.QuestionTokens, got.AnswerTokens, got.TotalTokens)
	}
}

// TestOurs reads and lays out the dataset that comes with the program.
func TestOurs(t *testing.T) {
	file, err := os.Open("../../dataset/matematicas.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	all, err := data.ReadAll(file, data.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 150 {
		t.Errorf("%d conversations, want at least 150", len(all))
	}
	f, err := gguf.Open(modeltest.Real(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := &model.Model{Name: "smollm2"}
	if m.Tokens, err = tokenizer.FromGGUF(f.Metadata); err != nil {
		t.Fatal(err)
	}
	if m.Template, err = chat.FromGGUF(f.Metadata, m.Tokens); err != nil {
		t.Fatal(err)
	}
	train, test := data.Split(all, 0.1, 42)
	for _, part := range [][]int{train, test} {
		laid, err := data.Lay(m, all, part, 512)
		if err != nil {
			t.Fatal(err)
		}
		if len(laid.Sequences) != len(part) || laid.Truncated != nil || laid.Empty != nil {
			t.Errorf("%d of %d laid out, cut %v, empty %v", len(laid.Sequences), len(part), laid.Truncated, laid.Empty)
		}
	}
	s, err := data.Describe(all, m, 512, 0.1, 42)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v\ntokens %+v", s, *s.TotalTokens)
	if s.Duplicates > 0 || s.SpecialText > 0 || s.TooLong > 0 || s.LearnedShare < 0.2 {
		t.Errorf("%+v", s)
	}
}

func TestDescribeNothing(t *testing.T) {
	got, err := data.Describe(nil, tiny(t), 512, 0.1, 1)
	if err != nil || got.Conversations != 0 || got.TotalTokens.Edges == nil {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestHistogram looks at the edges of many distributions through the character
// counts of one-answer conversations.
func TestHistogram(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lengths := rapid.SliceOfN(rapid.IntRange(1, 5000), 1, 30).Draw(t, "lengths")
		var all []chat.Conversation
		for _, n := range lengths {
			all = append(all, talk("x", strings.Repeat("a", n)))
		}
		s, err := data.Describe(all, nil, 0, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		d := s.AnswerChars
		if len(d.Edges) != len(d.Counts)+1 || len(d.Counts) > 20 {
			t.Fatalf("%d edges, %d counts", len(d.Edges), len(d.Counts))
		}
		for i, c := range d.Counts {
			n := 0
			for _, v := range lengths {
				if v >= d.Edges[i] && v < d.Edges[i+1] {
					n++
				}
			}
			if n != c {
				t.Fatalf("bucket %d of %v holds %d, want %d", i, d.Edges, c, n)
			}
		}
		slices.Sort(lengths)
		below := 0
		for _, v := range lengths {
			if float64(v) <= d.P95 {
				below++
			}
		}
		if below*100 < 95*len(lengths) || !slices.Contains(lengths, int(d.P95)) || d.Max != lengths[len(lengths)-1] {
			t.Fatalf("%+v of %v", d, lengths)
		}
	})
}
