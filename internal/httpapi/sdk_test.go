package httpapi_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"afina/internal/catalog"
	"afina/internal/fault"
)

// official is OpenAI's own client, speaking to h.
func official(t *testing.T, h *house, k string) openai.Client {
	s := h.open(t)
	return openai.NewClient(option.WithBaseURL(s.base+"/v1"), option.WithAPIKey(k), option.WithHTTPClient(s.client))
}

func question(model string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model: model, Temperature: openai.Float(0), Seed: openai.Int(1), MaxCompletionTokens: openai.Int(50),
		Messages: []openai.ChatCompletionMessageParamUnion{
			openai.SystemMessage("s"), openai.DeveloperMessage("d"), openai.UserMessage("u"), openai.AssistantMessage("a"),
			openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{openai.TextContentPart("x")}),
		},
		Stop: openai.ChatCompletionNewParamsStopUnion{OfStringArray: []string{"\n"}},
	}
}

func TestOfficialClient(t *testing.T) {
	h := newHouse()
	h.Config.HTTP.APIKeys = []string{key}
	h.Assistant = says("uno ", "dos")
	h.catalog.entries = func() ([]catalog.Entry, error) {
		return []catalog.Entry{{Name: "a/b:c"}, {Name: "tiny"}}, nil
	}
	h.catalog.deleteAdapter = func(string) error { return nil }
	c := official(t, h, key)

	t.Run("models", func(t *testing.T) {
		var names []string
		pager := c.Models.ListAutoPaging(t.Context())
		for pager.Next() {
			names = append(names, pager.Current().ID)
		}
		if pager.Err() != nil || strings.Join(names, " ") != "a/b:c tiny" {
			t.Error(names, pager.Err())
		}
		m, err := c.Models.Get(t.Context(), "a/b:c")
		if err != nil || m.ID != "a/b:c" || m.OwnedBy != "afina" {
			t.Error(m, err)
		}
		gone, err := c.Models.Delete(t.Context(), "a/b:c")
		if err != nil || !gone.Deleted || gone.ID != "a/b:c" {
			t.Error(gone, err)
		}
	})
	t.Run("chat", func(t *testing.T) {
		r, err := c.Chat.Completions.New(t.Context(), question("tiny"))
		if err != nil {
			t.Fatal(err)
		}
		if r.Choices[0].Message.Content != "uno dos" || r.Choices[0].FinishReason != "stop" || r.Usage.TotalTokens != 9 {
			t.Error(r.RawJSON())
		}
		again := question("tiny") // what it answered goes back as it came
		again.Messages = append(again.Messages, r.Choices[0].Message.ToParam(), openai.UserMessage("y"))
		if _, err := c.Chat.Completions.New(t.Context(), again); err != nil {
			t.Error(err)
		}
	})
	t.Run("stream", func(t *testing.T) {
		q := question("tiny")
		q.StreamOptions.IncludeUsage = openai.Bool(true)
		stream := c.Chat.Completions.NewStreaming(t.Context(), q)
		var all openai.ChatCompletionAccumulator
		for stream.Next() {
			if !all.AddChunk(stream.Current()) {
				t.Errorf("not accumulated: %s", stream.Current().RawJSON())
			}
		}
		if stream.Err() != nil {
			t.Fatal(stream.Err())
		}
		if all.Choices[0].Message.Content != "uno dos" || all.Choices[0].FinishReason != "stop" || all.Usage.TotalTokens != 9 {
			t.Errorf("%+v", all.ChatCompletion)
		}
	})
}

// TestOfficialClientMathematics: the chunk of the verdicts is no trouble to a
// client that does not know it.
func TestOfficialClientMathematics(t *testing.T) {
	h := newHouse()
	h.Config.HTTP.APIKeys = []string{key}
	h.Assistant = says("2 + 2 ", "= 5")
	c := official(t, h, key)
	q := question("tiny")
	q.StreamOptions.IncludeUsage = openai.Bool(true)
	stream := c.Chat.Completions.NewStreaming(t.Context(), q, option.WithJSONSet("math_check", true))
	var all openai.ChatCompletionAccumulator
	verdicts := 0
	for stream.Next() {
		chunk := stream.Current()
		if !all.AddChunk(chunk) {
			t.Errorf("not accumulated: %s", chunk.RawJSON())
		}
		if chunk.JSON.ExtraFields["math"].Raw() != "" {
			verdicts++
		}
	}
	if stream.Err() != nil || verdicts != 1 {
		t.Fatal(stream.Err(), verdicts)
	}
	if all.Choices[0].Message.Content != "2 + 2 = 5" || all.Choices[0].FinishReason != "stop" || all.Usage.TotalTokens != 9 {
		t.Errorf("%+v", all.ChatCompletion)
	}
	r, err := c.Chat.Completions.New(t.Context(), question("tiny"), option.WithJSONSet("math_verify", 3))
	if err != nil || r.Choices[0].Message.Content != "2 + 2 = 5" || !strings.Contains(r.JSON.ExtraFields["math"].Raw(), `"passed":false`) {
		t.Errorf("%v, %v", r, err)
	}
}

func TestOfficialClientErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		key    string
		err    error
		change func(*openai.ChatCompletionNewParams)
		status int
		code   string
		tries  int
	}{
		{"key", "wrong", nil, nil, 401, "invalid_api_key", 1},
		{"model", key, fault.New(fault.NotFound, "no").WithCode("model_not_found"), nil, 404, "model_not_found", 1},
		{"conflict", key, fault.New(fault.Conflict, "no").WithCode("x"), nil, 409, "x", 1},
		{"no space", key, fault.New(fault.NoSpace, "no").WithCode("x"), nil, 507, "x", 1},
		{"parameter", key, nil, func(q *openai.ChatCompletionNewParams) { q.Verbosity = "low" }, 400, "unsupported_parameter", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse()
			h.Config.HTTP.APIKeys = []string{key}
			if c.err != nil {
				h.Assistant = breaks(c.err)
			}
			q := question("tiny")
			if c.change != nil {
				c.change(&q)
			}
			client := official(t, h, c.key)
			_, err := client.Chat.Completions.New(t.Context(), q)
			var e *openai.Error
			if !errors.As(err, &e) || e.StatusCode != c.status || e.Code != c.code || e.Message == "" || e.Type == "" {
				t.Errorf("got %v", err)
			}
			if n := len(h.meters.requests); n != c.tries {
				t.Errorf("tried %d times", n)
			}
		})
	}
	t.Run("mid-stream", func(t *testing.T) {
		h := newHouse()
		h.Assistant = breaks(fault.New(fault.Busy, "the slot was lost"), "uno")
		client := official(t, h, key)
		stream := client.Chat.Completions.NewStreaming(t.Context(), question("tiny"))
		text := ""
		for stream.Next() {
			text += stream.Current().Choices[0].Delta.Content
		}
		if text != "uno" || stream.Err() == nil || !strings.Contains(stream.Err().Error(), "the slot was lost") {
			t.Error(text, stream.Err())
		}
	})
	t.Run("no such route", func(t *testing.T) {
		client := official(t, newHouse(), key)
		_, err := client.Moderations.New(t.Context(), openai.ModerationNewParams{Model: "tiny"})
		var e *openai.Error
		if !errors.As(err, &e) || e.StatusCode != http.StatusNotFound || e.Code != "route_not_found" {
			t.Error(err)
		}
	})
}
