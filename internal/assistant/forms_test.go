package assistant_test

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"afina/internal/assistant"
	"afina/internal/chat"
	"afina/internal/fault"
	"afina/internal/sampling"
)

// TestForms: an answer held to a schema is valid, whatever the seed; one with a
// limit too small says so.
func TestForms(t *testing.T) {
	a, _, stop := start(t, assistant.Options{})
	defer stop()
	q := assistant.Question{Model: "tiny", Limit: 120,
		Conversation: chat.Conversation{Messages: []chat.Message{{Role: chat.User, Content: "x"}}},
		Form:         assistant.Form{Schema: []byte(`{"type":"object","required":["n"],"additionalProperties":false,"properties":{"n":{"type":"integer","minimum":0,"maximum":9}}}`)}}
	for seed := range uint64(20) {
		q.Sampling = sampling.Options{Temperature: 1, Seed: seed}
		text, last := whole(t, a, q)
		var v struct{ N *int }
		if err := json.Unmarshal([]byte(text), &v); err != nil || v.N == nil || *v.N < 0 || *v.N > 9 || last.Reason != "stop" {
			t.Errorf("seed %d: %q, %s, %v", seed, text, last.Reason, err)
		}
	}
	q.Limit = 2
	if _, last := whole(t, a, q); last.Reason != "length" {
		t.Errorf("cut off, it ends by %s", last.Reason)
	}
	q.Form = assistant.Form{Schema: []byte(`{"type":"strange"}`)}
	for _, err := range a.Ask(t.Context(), q) {
		var f *fault.Error
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("a schema that is none: %v, %v", err, f)
		}
	}
}

// TestRaw: a text is gone on with as its tokens are, and the probabilities told
// are those of the text.
func TestRaw(t *testing.T) {
	a, _, stop := start(t, assistant.Options{})
	defer stop()
	tokens, err := a.Encode(t.Context(), "tiny", "hello 12<|im_start|>", true)
	if err != nil || len(tokens) == 0 {
		t.Fatal(tokens, err)
	}
	if text, err := a.Decode(t.Context(), "tiny", tokens); err != nil || !strings.HasPrefix(text, "hello 12") {
		t.Errorf("%q, %v", text, err)
	}
	q := assistant.Question{Model: "tiny", Limit: 12, Logprobs: true, Top: 3, Raw: &assistant.Raw{Text: "hello 12<|im_start|>"}}
	one, last := whole(t, a, q)
	q.Raw = &assistant.Raw{Tokens: tokens}
	two, _ := whole(t, a, q)
	if one != two || last.Usage.Prompt != len(tokens) {
		t.Errorf("%q and %q, %+v", one, two, last.Usage)
	}
	var bytes []byte
	n := 0
	for d, err := range a.Ask(t.Context(), q) {
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range d.Tokens {
			n++
			bytes = append(bytes, l.Bytes...)
			if l.Logprob > 0 || len(l.Top) != 3 || l.Top[0].ID != l.ID { // greedy
				t.Errorf("%+v", l)
			}
		}
	}
	if strings.ToValidUTF8(string(bytes), "\ufffd") != two && n == 0 {
		t.Errorf("%d tokens with %q, the text is %q", n, bytes, two)
	}
	for _, bad := range []assistant.Raw{{Tokens: []int32{-1}}, {Tokens: []int32{1 << 20}}} {
		q.Raw = &bad
		for _, err := range a.Ask(t.Context(), q) {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("%v: %v", bad.Tokens, err)
			}
		}
	}
}

// TestEmbed: vectors have length 1, do not depend on who else is embedded, and
// differ where the texts or the adapters do.
func TestEmbed(t *testing.T) {
	a, _, stop := start(t, assistant.Options{})
	defer stop()
	texts := []assistant.Raw{{Text: "hello"}, {Text: strings.Repeat("hello world ", 12)}, {Text: "hello"}}
	all, n, err := a.Embed(t.Context(), "tiny", texts)
	if err != nil || len(all) != 3 || n == 0 {
		t.Fatal(n, err)
	}
	for _, v := range all {
		square := 0.0
		for _, x := range v {
			square += float64(x) * float64(x)
		}
		if math.Abs(square-1) > 1e-5 {
			t.Errorf("length %g", math.Sqrt(square))
		}
	}
	tuned, _, err := a.Embed(t.Context(), "tuned", texts[:1])
	if err != nil || !slices.Equal(all[0], all[2]) || slices.Equal(all[0], all[1]) || slices.Equal(all[0], tuned[0]) {
		t.Errorf("vectors are alike that should not be, or the other way round: %v", err)
	}
	if _, _, err := a.Embed(t.Context(), "huge", texts); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
}
