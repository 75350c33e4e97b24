package assistant_test

import (
	"context"
	"errors"
	"iter"
	"sync"
	"testing"

	"afina/internal/assistant"
	"afina/internal/chat"
	"afina/internal/engine"
	"afina/internal/sampling"
)

// script answers by the seed: the first candidate has seed 1.
type script struct {
	texts []string
	err   error

	mu    sync.Mutex
	asked []assistant.Question
}

func (s *script) Ask(ctx context.Context, q assistant.Question) iter.Seq2[assistant.Delta, error] {
	return func(yield func(assistant.Delta, error) bool) {
		s.mu.Lock()
		s.asked = append(s.asked, q)
		s.mu.Unlock()
		i := 0
		for seed := uint64(1); seed != q.Sampling.Seed; seed += 0x9e3779b97f4a7c15 {
			i++
		}
		if s.err != nil {
			yield(assistant.Delta{}, s.err)
			return
		}
		half := len(s.texts[i]) / 2
		if yield(assistant.Delta{Text: s.texts[i][:half], Usage: assistant.Usage{Prompt: 5, Completion: 1}}, nil) {
			yield(assistant.Delta{Text: s.texts[i][half:], Usage: assistant.Usage{Prompt: 5, Completion: 2}, Reason: engine.Stop}, nil)
		}
	}
}

func TestVerify(t *testing.T) {
	q := assistant.Question{
		Model: "m", Sampling: sampling.Options{Seed: 1},
		Conversation: chat.Conversation{Messages: []chat.Message{{Role: chat.User, Content: "¿2 + 2?"}}},
	}
	for _, c := range []struct {
		name   string
		texts  []string
		index  int
		passed bool
		spent  int
	}{
		{"the first is right", []string{"2 + 2 = 4", "2 + 2 = 5", "2 + 2 = 4"}, 0, true, 2},
		{"the first without a false one", []string{"2 + 2 = 5", "1 + 1 = 2 y 2 + 2 = 5", "2 + 2 = 4", "1 + 3 = 4"}, 2, true, 6},
		{"nothing claimed is nothing wrong", []string{"2 + 2 = 5", "Son cuatro."}, 1, true, 4},
		{"all wrong: the fewest", []string{"2 + 2 = 5 y 1 + 1 = 3", "2 + 2 = 6", "2 + 2 = 7 y 1 + 1 = 1"}, 1, false, 6},
		{"all as wrong: the most true", []string{"2 + 2 = 5", "1 + 1 = 2 y 2 + 2 = 5", "2 + 2 = 6"}, 1, false, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &script{texts: c.texts}
			v, err := assistant.Verify(t.Context(), s, q, len(c.texts))
			if err != nil {
				t.Fatal(err)
			}
			if v.Index != c.index || v.Passed != c.passed || v.Text != c.texts[c.index] || v.Asked != len(c.texts) || v.Reason != engine.Stop {
				t.Errorf("chose %+v", v)
			}
			if want := (assistant.Usage{Prompt: 5, Completion: c.spent}); v.Spent != want {
				t.Errorf("spent %+v, want %+v", v.Spent, want)
			}
			if len(s.asked) != len(c.texts) {
				t.Errorf("asked %d times", len(s.asked))
			}
			for _, a := range s.asked {
				if (a.Sampling.Seed == 1) != (a.Sampling.Temperature == 0) {
					t.Errorf("asked with %+v", a.Sampling)
				}
			}
		})
	}
	broken := errors.New("broken")
	if _, err := assistant.Verify(t.Context(), &script{texts: make([]string, 3), err: broken}, q, 3); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}
