package evaluate

import (
	"context"
	"errors"
	"iter"
	"math"
	"strings"
	"sync"
	"testing"

	"afina/internal/assistant"
	"afina/internal/chat"
	"afina/internal/engine"
	"afina/internal/fault"
	"afina/internal/mathcheck"
)

func TestFinal(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"Sumamos 4: 2x = 8.\nRespuesta: x = 4", "x = 4"},
		{"Answer: 3/4\nAnswer: 5/8.", "5/8"},
		{"**Resultado:** 12 cm²", "12 cm²"},
		{"La solución final:\nSolución: x₁ = 3 y x₂ = −2.", "x₁ = 3 y x₂ = −2"},
		{"Entonces \\(x\\) es $\\boxed{\\frac{1}{2}}$.", "\\frac{1}{2}"},
		{"60 = 2 · 30, 30 = 2 · 15. Entonces 60 = 2² · 3 · 5.", "2² · 3 · 5"},
		{"El resultado es 42.", "42"},
		{"El área es A = 7 · 4 = 28 cm².", "28 cm²"},
		{"Se pagan 30 €.\nGracias.", "30 €"},
		{"0,75 · 40 = 30. Se pagan 30,50 €.", "30,50 €"},
		{"Primero 3 + 4 = 7 y después nada más.", "7"},
		{"No lo sé.", ""},
		{"", ""},
	} {
		if got := final(c.text); got != c.want {
			t.Errorf("final(%q) = %q, want %q", c.text, got, c.want)
		}
	}
}

func TestSame(t *testing.T) {
	for _, c := range []struct {
		got, want string
		verdict   mathcheck.Verdict
	}{
		{"x = 4", "x = 4", mathcheck.True},
		{"4", "x = 4", mathcheck.True},
		{"x = 5", "x = 4", mathcheck.False},
		{"30", "30 €", mathcheck.True},
		{"25 %", "25", mathcheck.True},
		{"12 cm", "12 cm²", mathcheck.False},
		{"f'(x) = 7", "7", mathcheck.True},
		{"", "7", mathcheck.False},
	} {
		if got := same(c.got, c.want, ""); got != c.verdict {
			t.Errorf("same(%q, %q) = %s, want %s", c.got, c.want, got, c.verdict)
		}
	}
}

func TestRefuses(t *testing.T) {
	for text, want := range map[string]bool{
		"Lo siento, pero no puedo ayudar con eso.":   true,
		"I'm sorry, but I can't assist with that.":   true,
		"As an AI language model, I do not know.":    true,
		"Como modelo de lenguaje, no tengo opinión.": true,
		"x = 4": false,
		"No puedo dividir entre 0, así que x ≠ 0.":    false,
		"La ecuación no tiene solución. Lo siento.":   false,
		"You can't divide by zero, so x is not zero.": false,
	} {
		if got := refuses(text); got != want {
			t.Errorf("refuses(%q) = %v", text, got)
		}
	}
}

// The interval is that of the theory, and equal seeds give equal ones.
func TestBootstrap(t *testing.T) {
	parts := make([]part, 400)
	for i := range parts {
		parts[i] = part{one(i%4 == 0), 1}
	}
	e := estimate(parts, 1)
	half := 1.96 * math.Sqrt(0.25*0.75/400)
	if e.Value != 0.25 || math.Abs(e.Low-(0.25-half)) > 0.01 || math.Abs(e.High-(0.25+half)) > 0.01 {
		t.Errorf("estimate %+v, want 0.25 ± %.3f", e, half)
	}
	if *estimate(parts, 1) != *e || *estimate(parts, 2) == *e {
		t.Error("the seed does not decide the interval")
	}
	better := make([]part, len(parts))
	for i, p := range parts {
		better[i] = p
		if i%10 == 1 {
			better[i].sum = 1
		}
	}
	// Paired: half of the tenth was right before; the interval of the difference is
	// far narrower than those of the shares.
	if d := difference(better, parts, 1); math.Abs(d.Value-0.1) > 0.03 || d.Low <= 0 || d.High-d.Low > 0.08 {
		t.Errorf("difference %+v", d)
	}
	if d := difference(parts, parts, 1); d.Value != 0 || d.Low != 0 || d.High != 0 {
		t.Errorf("difference of the same is %+v", d)
	}
	if estimate([]part{{0, 0}}, 1) != nil || estimate(nil, 1) != nil {
		t.Error("a share of nothing is a number")
	}
}

// asker answers by a function of the question's text.
type asker func(q assistant.Question) (string, error)

func (a asker) Ask(_ context.Context, q assistant.Question) iter.Seq2[assistant.Delta, error] {
	return func(yield func(assistant.Delta, error) bool) {
		text, err := a(q)
		yield(assistant.Delta{Text: text, Reason: engine.Stop}, err)
	}
}

func talk(texts ...string) chat.Conversation {
	var c chat.Conversation
	for i, text := range texts {
		c.Messages = append(c.Messages, chat.Message{Role: []chat.Role{chat.User, chat.Assistant}[i%2], Content: text})
	}
	return c
}

func TestAnswersAndMarks(t *testing.T) {
	all := []chat.Conversation{
		talk("a", "Respuesta: 4"), talk("b", "Respuesta: 5"), talk("c", "Hola."), talk("d", "2 + 2 = 4"), talk("sin respuesta"),
	}
	qs := Questions(all, []int{0, 1, 2, 3, 4}, -1)
	if len(qs) != 4 || len(Questions(all, []int{0, 1, 2}, 2)) != 2 {
		t.Fatalf("questions %+v", qs)
	}
	said := map[string]string{"a": "1 + 3 = 4", "b": "1 + 3 = 5, creo.\nRespuesta: 6", "c": "", "d": "Lo siento, no puedo ayudar."}
	var mu sync.Mutex
	tries := 0
	a := asker(func(q assistant.Question) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if tries++; tries == 1 {
			return "", fault.New(fault.Busy, "full")
		}
		return said[q.Conversation.Messages[0].Content], nil
	})
	did := 0
	answers, err := Answers(t.Context(), a, qs, Asking{Model: "m"}, func() { did++ })
	if err != nil || did != 4 {
		t.Fatal(err, did)
	}
	for i, want := range []Grade{Right, Wrong, Ungraded, Wrong} {
		if answers[i].Grade != want {
			t.Errorf("answer %d is %+v, want %s", i, answers[i], want)
		}
	}
	m := Mark(answers, 1)
	if m.Graded != 3 || m.Right.Value != 1.0/3 || m.False.Value != 0.5 || m.True.Value != 0.5 || m.Empty.Value != 0.25 || m.Refusal.Value != 0.25 {
		t.Errorf("marks %+v", m)
	}
	if g := gain(answers, answers, 1); g.Right.Value != 0 || g.False.High != 0 {
		t.Errorf("gain over itself %+v", g)
	}
	broken := errors.New("broken")
	if _, err := Answers(t.Context(), asker(func(assistant.Question) (string, error) { return "", broken }), qs, Asking{}, nil); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestReports(t *testing.T) {
	half, zero := &Estimate{0.5, 0.4, 0.6}, &Estimate{}
	m := &Marks{Questions: 9, Graded: 8, Right: half, False: zero}
	r := Report{
		Model: "mates", Base: "m|base", Loss: 1.5, BaseLoss: 2, LossInterval: half, BaseLossInterval: half, LossGain: zero,
		BaseMarks: m, Marks: m, Verified: m, Verify: 8, Gain: &Gain{half, zero}, VerifyGain: &Gain{half, zero},
		Samples: []Sample{{Question: "¿2 + 2?\n¿Y 3?", Reference: "4", Base: &Answer{Text: "a\nb", Grade: Wrong}}},
	}
	var md, csv strings.Builder
	if err := errors.Join(r.Markdown(&md), r.CSV(&csv)); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`|  | m\|base | mates | mates, math_verify 8 |`, "| right answers | 50.0 % [40.0, 60.0] |", "| malformed formulas | – |",
		"mates less m|base: right answers 50.0 %", "> ¿2 + 2?\n> ¿Y 3?", "- base (wrong): a b\n",
	} {
		if !strings.Contains(md.String(), part) {
			t.Errorf("no %q in\n%s", part, md.String())
		}
	}
	lines := strings.Split(strings.TrimSpace(csv.String()), "\n")
	if len(lines) != 10 || !strings.HasPrefix(lines[0], "figure,base,base_low,base_high,model,") || !strings.HasPrefix(lines[2], "right,0.5,0.4,0.6,0.5,") {
		t.Errorf("CSV:\n%s", csv.String())
	}
	for _, l := range lines {
		if strings.Count(l, ",") != 15 {
			t.Errorf("fields of %q", l)
		}
	}
}
