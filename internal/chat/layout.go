package chat

import (
	"strings"
	"unicode"

	"afina/internal/tokenizer"
)

// Lay returns c as tokens. With open true the sequence ends where the
// assistant's next turn begins. Contents are never read as special tokens.
//
// The tokens are those of the rendered text tokenised as one piece, with two
// exceptions. A special token comes from the template's own text or not at all.
// And no token reaches across the place where an answer begins or ends, because
// generation stops and starts there: a conversation laid out with open true is
// the exact beginning of the same conversation with its answer, and the
// answer's tokens are what the model is to generate next. Should a template
// write a question that is being asked otherwise than one that is answered,
// the former holds in training too.
//
// Learned is all that the model is to write: what the template puts between
// the end of an open conversation and the answer (Phi-2's space), the answer,
// and the tokens that end the turn. Where the template ends an answer with
// nothing, the last one gets the tokenizer's end of sequence.
func (t *Template) Lay(tok *tokenizer.Tokenizer, c Conversation, open bool) (Sequence, error) {
	messages := c.Messages
	last := len(messages) - 1
	answered := !open && last >= 0 && messages[last].Role == Assistant && strings.TrimSpace(messages[last].Content) != ""
	if !answered {
		parts, err := t.skeleton(c, open)
		if err != nil {
			return Sequence{}, err
		}
		return encode(tok, t.strips(messages, parts, tok)), nil
	}
	before := c
	before.Messages = messages[:last]
	asked, err := t.skeleton(before, true)
	if err != nil {
		return Sequence{}, err
	}
	whole, err := t.skeleton(c, false)
	if err != nil {
		return Sequence{}, err
	}
	strips := t.strips(messages, asked, tok)
	lead, answer, after := around(whole, last)
	lead, ok := strings.CutPrefix(lead, asked[len(asked)-1].text)
	if !ok {
		lead = blankEdge(lead, messages[last].Content)
	}
	strips = append(strips, strip{text: lead, own: true, learn: true}, strip{text: answer, learn: true})
	end, rest, ok := turnEnd(after, tok)
	if ok {
		strips = append(strips, strip{text: end, own: true, learn: true}, strip{text: rest, own: true})
	}
	seq := encode(tok, strips)
	if !ok && tok.EOS >= 0 {
		seq.Tokens = append(seq.Tokens, tok.EOS)
		seq.Learn = append(seq.Learn, true)
	}
	return seq, nil
}

// around returns the content of message i and the template's own text on both
// sides of it, in its last place.
func around(parts []part, i int) (before, content, after string) {
	for k := len(parts) - 2; k > 0; k -= 2 {
		if parts[k].message == i {
			return parts[k-1].text, parts[k].text, parts[k+1].text
		}
	}
	return "", "", ""
}

// strip is a stretch of text to tokenise. Strips that follow each other are one
// text unless learn changes between them.
type strip struct {
	text  string
	own   bool // the template's own: names of special tokens are those tokens
	learn bool
}

// strips marks in a rendered conversation what the assistant wrote.
func (t *Template) strips(messages []Message, parts []part, tok *tokenizer.Tokenizer) []strip {
	var out []strip
	answered := false // the part before is an answer
	for k, p := range parts {
		if p.message != own {
			answered = by(messages, p, Assistant)
			out = append(out, strip{text: p.text, learn: answered})
			continue
		}
		text := p.text
		if answered {
			if end, rest, ok := turnEnd(text, tok); ok {
				out = append(out, strip{text: end, own: true, learn: true})
				text = rest
			}
		}
		lead := ""
		if k+1 < len(parts) && by(messages, parts[k+1], Assistant) {
			text, lead = t.begin(text, messages[parts[k+1].message].Content)
		}
		out = append(out, strip{text: text, own: true}, strip{text: lead, own: true, learn: true})
	}
	return out
}

// by reports whether a part is of a message of that role.
func by(messages []Message, p part, role Role) bool {
	return p.message >= 0 && messages[p.message].Role == role
}

// begin cuts the template's text before an answer where generation begins.
func (t *Template) begin(text, content string) (before, lead string) {
	if i := strings.LastIndex(text, t.turn); i >= 0 && t.turn != "" {
		i += len(t.turn)
		return text[:i], text[i:]
	}
	lead = blankEdge(text, content)
	return strings.TrimSuffix(text, lead), lead
}

// blankEdge returns the blanks that content begins with, if text ends in them.
func blankEdge(text, content string) string {
	blanks := content[:len(content)-len(strings.TrimLeftFunc(content, unicode.IsSpace))]
	if strings.HasSuffix(text, blanks) {
		return blanks
	}
	return ""
}

// turnEnd cuts the template's text after an answer behind the tokens that end
// the turn. Only blanks may come before them.
func turnEnd(text string, tok *tokenizer.Tokenizer) (end, rest string, ok bool) {
	n := 0
	for {
		id, at, size := tok.Marker(text[n:])
		if size == 0 || !ends(tok, id) || ok && at > 0 || strings.TrimSpace(text[n:n+at]) != "" {
			return text[:n], text[n:], ok
		}
		n += at + size
		ok = true
	}
}

func ends(tok *tokenizer.Tokenizer, id int32) bool {
	for _, end := range tok.Ends {
		if id == end {
			return true
		}
	}
	return false
}

// encode tokenises strips, each run of equal learn as one text, and puts the
// beginning of sequence in front where the tokenizer asks for one and the
// template has not written it.
func encode(tok *tokenizer.Tokenizer, strips []strip) Sequence {
	var seq Sequence
	var text strings.Builder
	first, learn := true, false
	add := func(to int, flag bool) {
		for len(seq.Learn) < to {
			seq.Learn = append(seq.Learn, flag)
		}
	}
	flush := func() {
		if text.Len() == 0 {
			return
		}
		seq.Tokens = tok.Encode(seq.Tokens, text.String(), first)
		add(len(seq.Tokens), learn)
		text.Reset()
		first = false
	}
	for _, s := range strips {
		if s.learn != learn && s.text != "" {
			flush()
			learn = s.learn
		}
		for s.own {
			id, at, size := tok.Marker(s.text)
			if size == 0 {
				break
			}
			text.WriteString(s.text[:at])
			flush()
			seq.Tokens = append(seq.Tokens, id)
			add(len(seq.Tokens), learn)
			first = true
			s.text = s.text[at+size:]
		}
		text.WriteString(s.text)
	}
	flush()
	if tok.AddBOS && (len(seq.Tokens) == 0 || seq.Tokens[0] != tok.BOS) {
		seq.Tokens = append([]int32{tok.BOS}, seq.Tokens...)
		seq.Learn = append([]bool{false}, seq.Learn...)
	}
	return seq
}
