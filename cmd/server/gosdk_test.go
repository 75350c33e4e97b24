package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	openai2 "github.com/openai/openai-go/v2"
	option2 "github.com/openai/openai-go/v2/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/shared"
)

// TestGoSDK walks the API with OpenAI's client for Go, at its third major.
func TestGoSDK(t *testing.T) {
	s := newSDKService(t)
	ctx := t.Context()
	c := openai.NewClient(option.WithBaseURL(s.Base+"/v1"), option.WithAPIKey(sdkKey), option.WithMaxRetries(0))
	ids := fileIDs(t, func(name string, r io.Reader) (string, error) {
		f, err := c.Files.New(ctx, openai.FileNewParams{File: openai.File(r, name, "application/octet-stream"), Purpose: openai.FilePurposeFineTune})
		if err != nil {
			return "", err
		}
		return f.ID, nil
	})
	var seen []string
	for pages := c.Files.ListAutoPaging(ctx, openai.FileListParams{Limit: openai.Int(1), Order: openai.FileListParamsOrderAsc}); pages.Next(); {
		seen = append(seen, pages.Current().ID)
	}
	if fmt.Sprint(seen) != fmt.Sprint(ids) {
		t.Errorf("files over 3 pages: %v, want %v", seen, ids)
	}

	job, err := c.FineTuning.Jobs.New(ctx, openai.FineTuningJobNewParams{
		Model: "tiny", TrainingFile: ids[0], Suffix: openai.String("go"), Metadata: shared.Metadata{"a": "b"},
		Method: openai.FineTuningJobNewParamsMethod{Type: "supervised"},
	}, option.WithJSONSet("method.supervised.hyperparameters", map[string]any{"n_epochs": 2, "batch_size": 4, "eval_every": 1, "rank": 2}))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); job.FinishedAt == 0; time.Sleep(10 * time.Millisecond) {
		if job, err = c.FineTuning.Jobs.Get(ctx, job.ID); err != nil || time.Now().After(deadline) {
			t.Fatal(err, job.Status)
		}
	}
	if job.Status != openai.FineTuningJobStatusSucceeded || !strings.HasPrefix(job.FineTunedModel, "ft:tiny:afina:go:") || job.TrainedTokens == 0 {
		t.Fatal(job.RawJSON())
	}
	events := 0
	pages := c.FineTuning.Jobs.ListEventsAutoPaging(ctx, job.ID, openai.FineTuningJobListEventsParams{Limit: openai.Int(2)})
	for pages.Next() {
		events++
	}
	if pages.Err() != nil || events < 5 {
		t.Errorf("%d events, %v", events, pages.Err())
	}
	points := c.FineTuning.Jobs.Checkpoints.ListAutoPaging(ctx, job.ID, openai.FineTuningJobCheckpointListParams{Limit: openai.Int(1)})
	model := ""
	for points.Next() {
		model = points.Current().FineTunedModelCheckpoint
	}
	if points.Err() != nil || !strings.HasPrefix(model, job.FineTunedModel+":ckpt-step-") {
		t.Errorf("checkpoint %q, %v", model, points.Err())
	}
	long, err := c.FineTuning.Jobs.New(ctx, openai.FineTuningJobNewParams{Model: "tiny", TrainingFile: ids[0]})
	if err == nil {
		_, err = c.FineTuning.Jobs.Cancel(ctx, long.ID)
	}
	var e *openai.Error
	if err != nil && !(errors.As(err, &e) && e.Code == "already_finished") {
		t.Error(err)
	}

	ask := openai.ChatCompletionNewParams{
		Model: model, MaxTokens: openai.Int(8), Seed: openai.Int(1), N: openai.Int(3), Logprobs: openai.Bool(true), TopLogprobs: openai.Int(2),
		Messages:      []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hola")},
		StreamOptions: openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)},
	}
	stream := c.Chat.Completions.NewStreaming(ctx, ask)
	var sum openai.ChatCompletionAccumulator
	for stream.Next() {
		if !sum.AddChunk(stream.Current()) {
			t.Error(stream.Current().RawJSON())
		}
	}
	ask.StreamOptions = openai.ChatCompletionStreamOptionsParam{}
	whole, err := c.Chat.Completions.New(ctx, ask)
	if err != nil || stream.Err() != nil {
		t.Fatal(err, stream.Err())
	}
	if sum.Usage.CompletionTokens != 24 || whole.Usage.CompletionTokens != 24 || len(sum.Choices) != 3 {
		t.Errorf("usage %+v and %+v", sum.Usage, whole.Usage)
	}
	for i, x := range whole.Choices {
		if y := sum.Choices[i]; x.Message.Content != y.Message.Content || x.FinishReason != "length" || y.FinishReason != "length" ||
			len(x.Logprobs.Content) != 8 || len(x.Logprobs.Content[0].TopLogprobs) != 2 {
			t.Errorf("choice %d: %s and %s", i, x.RawJSON(), y.RawJSON())
		}
	}
	for _, model := range []string{"toolful", "mistral"} {
		ask := openai.ChatCompletionNewParams{
			Model: model, MaxTokens: openai.Int(400), Seed: openai.Int(1), Messages: ask.Messages,
			Tools:      []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "sumar"})},
			ToolChoice: openai.ToolChoiceOptionFunctionToolChoice(openai.ChatCompletionNamedToolChoiceFunctionParam{Name: "sumar"}),
		}
		stream := c.Chat.Completions.NewStreaming(ctx, ask)
		var sum openai.ChatCompletionAccumulator
		finished := 0
		for stream.Next() {
			if !sum.AddChunk(stream.Current()) {
				t.Error(stream.Current().RawJSON())
			}
			if call, ok := sum.JustFinishedToolCall(); ok && call.Name == "sumar" {
				finished++
			}
		}
		whole, err := c.Chat.Completions.New(ctx, ask)
		if err != nil || stream.Err() != nil {
			t.Fatal(err, stream.Err())
		}
		one, other := sum.Choices[0], whole.Choices[0]
		if len(one.Message.ToolCalls) != 1 || len(other.Message.ToolCalls) != 1 || one.FinishReason != other.FinishReason ||
			one.Message.ToolCalls[0].Function.Arguments != other.Message.ToolCalls[0].Function.Arguments ||
			one.FinishReason == "tool_calls" && finished != 1 {
			t.Errorf("%s: %d calls finished; in pieces %s, whole %s", model, finished, one.RawJSON(), other.RawJSON())
		}
	}
	_, err = c.Chat.Completions.New(ctx, openai.ChatCompletionNewParams{Model: "huge", Messages: ask.Messages})
	if !errors.As(err, &e) || e.StatusCode != 404 || e.Code != "model_not_found" || e.Param != "model" {
		t.Error(err)
	}
}

// TestGoSDKBefore walks it with the major before.
func TestGoSDKBefore(t *testing.T) {
	s := newSDKService(t)
	ctx := t.Context()
	c := openai2.NewClient(option2.WithBaseURL(s.Base+"/v1"), option2.WithAPIKey(sdkKey), option2.WithMaxRetries(0))
	ids := fileIDs(t, func(name string, r io.Reader) (string, error) {
		f, err := c.Files.New(ctx, openai2.FileNewParams{File: openai2.File(r, name, "application/jsonl"), Purpose: openai2.FilePurposeFineTune})
		if err != nil {
			return "", err
		}
		return f.ID, nil
	})
	for range 3 {
		job, err := c.FineTuning.Jobs.New(ctx, openai2.FineTuningJobNewParams{Model: "tiny", TrainingFile: ids[1]})
		if err == nil {
			_, err = c.FineTuning.Jobs.Cancel(ctx, job.ID)
		}
		var e *openai2.Error
		if err != nil && !(errors.As(err, &e) && e.Code == "already_finished") {
			t.Fatal(err)
		}
	}
	n := 0
	pages := c.FineTuning.Jobs.ListAutoPaging(ctx, openai2.FineTuningJobListParams{Limit: openai2.Int(1)})
	for pages.Next() {
		n++
	}
	if pages.Err() != nil || n != 3 {
		t.Errorf("%d jobs, %v", n, pages.Err())
	}
	stream := c.Chat.Completions.NewStreaming(ctx, openai2.ChatCompletionNewParams{
		Model: "tiny", MaxTokens: openai2.Int(8), N: openai2.Int(2), Messages: []openai2.ChatCompletionMessageParamUnion{openai2.UserMessage("hola")},
		StreamOptions: openai2.ChatCompletionStreamOptionsParam{IncludeUsage: openai2.Bool(true)},
	})
	var sum openai2.ChatCompletionAccumulator
	for stream.Next() {
		if !sum.AddChunk(stream.Current()) {
			t.Error(stream.Current().RawJSON())
		}
	}
	if stream.Err() != nil || len(sum.Choices) != 2 || sum.Choices[1].FinishReason != "length" || sum.Usage.CompletionTokens != 16 {
		t.Errorf("%+v, %v", sum.ChatCompletion, stream.Err())
	}
}

// fileIDs uploads the training file three times, by the client's own means.
func fileIDs(t *testing.T, upload func(name string, r io.Reader) (string, error)) (ids []string) {
	t.Helper()
	path := training(t)
	for i := range 3 {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		id, err := upload(fmt.Sprintf("go%d.jsonl", i), f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}
