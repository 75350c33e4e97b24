package openai

import (
	"testing"

	"afina/internal/contract"
)

// TestWireTypes: what goes over the wire is written down twice, in the contract
// and in types; they do not differ.
func TestWireTypes(t *testing.T) {
	contract.Asked(t, "ChatCompletionRequest", completionRequest{}, drawing{})
	contract.Asked(t, "ChatMessage", messageBody{})
	contract.Asked(t, "ToolCallBack", callMessage{})
	contract.Told(t, "ToolCall", toolCall{})
	contract.Asked(t, "Tool", toolBody{})
	contract.Asked(t, "CompletionRequest", textRequest{}, drawing{})
	contract.Told(t, "Logprobs", logprobs{})
	contract.Told(t, "Usage", usage{})
	contract.Told(t, "ToolCallChunk", callChunk{})
	contract.Told(t, "Math", mathObject{})
	contract.Told(t, "ChatCompletion", struct {
		answer
		Choices []choice `json:"choices"`
	}{})
	contract.Told(t, "ChatCompletionChunk", struct {
		chunk
		Choices []chunkChoice `json:"choices"`
	}{})
	contract.Told(t, "Completion", struct {
		head
		Choices []textChoice `json:"choices"`
		Usage   any          `json:"usage,omitempty"`
	}{})
}
