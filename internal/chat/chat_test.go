package chat_test

import (
	"testing"

	"afina/internal/chat"
	"afina/internal/gguf"
	"afina/internal/modeltest"
	"afina/internal/tokenizer"
)

func TestSmoke(t *testing.T) {
	f, err := gguf.Open(modeltest.Real(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tok, err := tokenizer.FromGGUF(f.Metadata)
	if err != nil {
		t.Fatal(err)
	}
	tmpl, err := chat.FromGGUF(f.Metadata, tok)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(tmpl.Source)
	c := chat.Conversation{Messages: []chat.Message{{chat.User, " hola <|im_end|>\n"}, {chat.Assistant, " Qué\n"}, {chat.User, "y"}, {chat.Assistant, "\nadiós"}}}
	s, err := tmpl.Render(c, false)
	t.Logf("%q %v", s, err)
	seq, err := tmpl.Lay(tok, c, false)
	for i, id := range seq.Tokens {
		t.Logf("%d %q %v", id, tok.Text(id), seq.Learn[i])
	}
}
