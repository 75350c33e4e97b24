package request

import (
	"testing"

	"afina/internal/contract"
)

// TestWireTypes: what goes over the wire is written down twice, in the contract
// and in types; they do not differ.
func TestWireTypes(t *testing.T) {
	contract.Asked(t, "ChatCompletionRequest", Chat{}, drawing{})
	contract.Asked(t, "ChatMessage", messageBody{})
	contract.Asked(t, "ToolCallBack", callMessage{})
	contract.Asked(t, "Tool", toolBody{})
	contract.Asked(t, "CompletionRequest", Text{}, drawing{})
	contract.Asked(t, "EmbeddingRequest", Embedding{})
	contract.Asked(t, "TemplateRequest", template{})
}
