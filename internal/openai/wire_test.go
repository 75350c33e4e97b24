package openai

import (
	"testing"

	"afina/internal/contract"
)

// TestWireTypes: what goes over the wire is written down twice, in the contract
// and in types; they do not differ.
func TestWireTypes(t *testing.T) {
	contract.Told(t, "ToolCall", toolCall{})
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
	contract.Told(t, "EmbeddingList", embeddingList{})
	contract.Asked(t, "TokenizeRequest", tokenizeRequest{})
	contract.Told(t, "Tokens", tokensObject{})
	contract.Asked(t, "DetokenizeRequest", detokenizeRequest{})
	contract.Told(t, "Content", contentObject{})
	contract.Told(t, "Prompt", promptObject{})
}
