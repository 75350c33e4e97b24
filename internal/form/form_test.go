package form_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"afina/internal/fault"
	"afina/internal/finetune"
	"afina/internal/form"
)

type inner struct {
	Word  string `json:"word"`
	Count int32  `json:"count"`
}

type outer struct {
	Name   string            `json:"name"`
	Ratio  float64           `json:"ratio"`
	Seed   *int64            `json:"seed"`
	On     *bool             `json:"on"`
	Inner  inner             `json:"inner"`
	List   []inner           `json:"list"`
	Words  []string          `json:"words"`
	Labels map[string]string `json:"labels"`
	Any    json.RawMessage   `json:"any"`
	Hidden string            `json:"-"`
}

func TestDecode(t *testing.T) {
	seed := int64(-3)
	on := true
	for _, c := range []struct {
		name, body string
		want       outer
	}{
		{"empty object keeps what was there", `{}`, outer{Name: "before", Inner: inner{Count: 7}}},
		{"scalars", `{"name":"ñ\u00e9\ud83d\ude00","ratio":1,"seed":-3,"on":true}`,
			outer{Name: "ñé😀", Ratio: 1, Seed: &seed, On: &on, Inner: inner{Count: 7}}},
		{"null pointers", `{"seed":null,"on":null}`, outer{Name: "before", Inner: inner{Count: 7}}},
		{"nested keeps the rest", `{"inner":{"word":"x"},"list":[{"count":1},{"word":"y"}],"words":[]}`,
			outer{Name: "before", Inner: inner{Word: "x", Count: 7}, List: []inner{{Count: 1}, {Word: "y"}}, Words: []string{}}},
		{"map", `{"labels":{"a":"b"}}`, outer{Name: "before", Inner: inner{Count: 7}, Labels: map[string]string{"a": "b"}}},
		{"raw object", `{ "any" : {"a":[1, "]\"}"]} , "ratio":2}`,
			outer{Name: "before", Ratio: 2, Inner: inner{Count: 7}, Any: json.RawMessage(`{"a":[1, "]\"}"]}`)}},
		{"raw text", `{"any":  "a, \"b\\" }`, outer{Name: "before", Inner: inner{Count: 7}, Any: json.RawMessage(`"a, \"b\\"`)}},
		{"raw number", "{\"any\":\n-1.5e3}", outer{Name: "before", Inner: inner{Count: 7}, Any: json.RawMessage(`-1.5e3`)}},
		{"raw null", `{"any":null}`, outer{Name: "before", Inner: inner{Count: 7}, Any: json.RawMessage(`null`)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := outer{Name: "before", Inner: inner{Count: 7}}
			if err := form.Decode([]byte(c.body), "", &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct{ name, body, code, param, says string }{
		{"empty", " \n", form.CodeSyntax, "", "empty"},
		{"broken UTF-8", "{\"name\":\"\xff\"}", form.CodeEncoding, "", "UTF-8"},
		{"overlong UTF-8", "{\"name\":\"\xc0\xaf\"}", form.CodeEncoding, "", "UTF-8"},
		{"lone high surrogate", `{"name":"\ud800"}`, form.CodeEncoding, "", "surrogate"},
		{"lone low surrogate", `{"name":"\udc00x"}`, form.CodeEncoding, "", "line 1, column 10"},
		{"two high surrogates", `{"name":"\ud800\ud800"}`, form.CodeEncoding, "", "surrogate"},
		{"deep", strings.Repeat("[", 1e6), form.CodeDepth, "", "32 levels"},
		{"deep objects", strings.Repeat(`{"any":`, 40), form.CodeDepth, "", "32 levels"},
		{"cut off", "{\n \"name\": \"a\n", form.CodeSyntax, "", "line 2, column 12"},
		{"trailing comma", `{"ratio":1,}`, form.CodeSyntax, "", "column 12"},
		{"two values", `{} {}`, form.CodeSyntax, "", "after top-level value"},
		{"comment", `{} // no`, form.CodeSyntax, "", "not valid JSON"},
		{"not a number", `{"ratio":NaN}`, form.CodeSyntax, "", "not valid JSON"},
		{"infinite", `{"ratio":1e999}`, form.CodeType, "ratio", "not 1e999"},
		{"array body", `[]`, form.CodeType, "", "the body must be an object, not an array"},
		{"unknown", `{"nmae":"x"}`, form.CodeUnknown, "nmae", `did you mean "name"?`},
		{"unknown, nothing near", `{"zzzzzzzzz":1}`, form.CodeUnknown, "zzzzzzzzz", "remove it"},
		{"names match exactly", `{"Name":"x"}`, form.CodeUnknown, "Name", `did you mean "name"?`},
		{"hidden field", `{"Hidden":"x"}`, form.CodeUnknown, "Hidden", "unknown"},
		{"no name", `{"":"x"}`, form.CodeUnknown, "", "unknown"},
		{"unknown inside", `{"list":[{},{"cont":1}]}`, form.CodeUnknown, "list[1].cont", `"count"`},
		{"twice", `{"name":"a","name":"a"}`, form.CodeDuplicate, "name", "given twice"},
		{"twice by escape", `{"name":"a","n\u0061me":"a"}`, form.CodeDuplicate, "name", "given twice"},
		{"twice inside raw", `{"any":[{"a":1,"a":2}]}`, form.CodeDuplicate, "any[0].a", "given twice"},
		{"text for number", `{"ratio":"5"}`, form.CodeType, "ratio", `must be a number, not the text "5"`},
		{"number for text", `{"inner":{"word":5}}`, form.CodeType, "inner.word", "must be text, not 5"},
		{"null for text", `{"name":null}`, form.CodeType, "name", "not null"},
		{"fraction", `{"seed":1.5}`, form.CodeType, "seed", "whole number"},
		{"too large", `{"list":[{"count":2147483648}]}`, form.CodeType, "list[0].count", "32 bits"},
		{"object for list", `{"list":{}}`, form.CodeType, "list", "must be an array, not an object"},
		{"object for flag", `{"on":{}}`, form.CodeType, "on", "true or false"},
		{"list too long", `{"words":[` + strings.Repeat(`"",`, form.MaxItems) + `""]}`, form.CodeValue, "words", "10000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got outer
			check(t, form.Decode([]byte(c.body), "", &got), c.code, c.param, c.says)
		})
	}
}

func TestDecodeAt(t *testing.T) {
	var got inner
	check(t, form.Decode([]byte(`{"count":"x"}`), "messages[3]", &got), form.CodeType, "messages[3].count", "messages[3].count")
}

func check(t *testing.T, err error, code, param, says string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) {
		t.Fatalf("got %v, want a fault", err)
	}
	if f.Kind != fault.Invalid || f.Code != code || f.Param != param {
		t.Errorf("got kind %s, code %s, param %q; want invalid, %s, %q", f.Kind, f.Code, f.Param, code, param)
	}
	if !strings.Contains(f.Message, says) || len(f.Message) > 300 || !utf8.ValidString(f.Message) {
		t.Errorf("message %q should say %q", f.Message, says)
	}
}

func TestRules(t *testing.T) {
	good := func() finetune.Spec {
		s := finetune.Defaults()
		s.Model, s.Dataset = "m", "d"
		return s
	}
	for _, c := range []struct {
		name        string
		change      func(*finetune.Spec)
		code, param string
		says        string
	}{
		{"missing", func(s *finetune.Spec) { s.Model = "" }, form.CodeMissing, "model", "model is missing; set it"},
		{"too small", func(s *finetune.Spec) { s.Epochs = 0 }, form.CodeValue, "epochs", "epochs is 0: it must be at least 1"},
		{"too large, nested", func(s *finetune.Spec) { s.LoRA.Rank = 257 }, form.CodeValue, "lora.rank", "lora.rank is 257: it must be at most 256"},
		{"not above", func(s *finetune.Spec) { s.LearningRate = 0 }, form.CodeValue, "learning_rate", "greater than 0"},
		{"not below", func(s *finetune.Spec) { s.LoRA.Dropout = 1 }, form.CodeValue, "lora.dropout", "less than 1"},
		{"word", func(s *finetune.Spec) { s.Schedule = "cubic" }, form.CodeValue, "schedule", `schedule is "cubic": it must be one of linear, cosine, constant`},
		{"name", func(s *finetune.Spec) { s.Name = "../etc" }, form.CodeValue, "name", "letters, digits"},
		{"name too long", func(s *finetune.Spec) { s.Name = strings.Repeat("a", 65) }, form.CodeValue, "name", "name must be at most 64 characters long"},
		{"list", func(s *finetune.Spec) { s.LoRA.Targets = make([]string, 17) }, form.CodeValue, "lora.targets", "at most 16 entries"},
		{"entry", func(s *finetune.Spec) { s.LoRA.Targets = []string{"q", strings.Repeat("a", 65)} }, form.CodeValue, "lora.targets[1]", "64 characters"},
		{"several", func(s *finetune.Spec) { s.Epochs = -1; s.MaxLength = 1 }, form.CodeValue, "epochs", "max_length is 1: it must be at least 8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := good()
			c.change(&s)
			check(t, form.NewRules("json").Check(&s, ""), c.code, c.param, c.says)
		})
	}
	s := good()
	if err := form.NewRules("json").Check(&s, ""); err != nil {
		t.Error(err)
	}
	s = finetune.Defaults()
	if err := form.NewRules("yaml").Check(&s, "train", "Model", "Dataset"); err != nil {
		t.Errorf("with model and dataset left out: %v", err)
	}
	s.LoRA.Rank = 0
	check(t, form.NewRules("yaml").Check(&s, "train", "Model", "Dataset"), form.CodeValue, "train.lora.rank", "train.lora.rank")
}

func TestNearest(t *testing.T) {
	known := []string{"temperature", "top_p", "top_k", "", "max_tokens"}
	for word, want := range map[string]string{
		"temprature": "temperature", "Temperature": "temperature", "topp": "top_p", "max_token": "max_tokens",
		"colour": "", "": "", strings.Repeat("x", 1000): "",
	} {
		if got := form.Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

// FuzzDecode: what Decode accepts, encoding/json reads the same way.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"name":"a","ratio":1.5,"seed":3}`, `{"any":[1,{"a":null}],"labels":{"x":"y"}}`, `{"list":[{"word":"\ud83d\ude00"}]}`, `{"any":"\""}`, `[`, `{"seed":1e2}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var got, want outer
		if err := form.Decode(body, "", &got); err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("%q: %v is not the caller's to mend", body, err)
			}
			return
		}
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatalf("%q: accepted, but encoding/json says %v", body, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %s", body, cmp.Diff(want, got))
		}
	})
}
