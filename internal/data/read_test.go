package data_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/fault"
)

const (
	user = `{"role":"user","content":"hola"}`
	bot  = `{"role":"assistant","content":"qué tal"}`
	good = `{"messages":[` + user + `,` + bot + `]}`
)

// there returns the line and the text that a problem points at.
func there(file string, p data.Problem) string {
	lines := strings.SplitAfter(file, "\n")
	if p.Line > len(lines) || p.Column > len(lines[p.Line-1])+1 {
		return fmt.Sprintf("%d:%d is outside of the file", p.Line, p.Column)
	}
	text := lines[p.Line-1][p.Column-1:]
	return fmt.Sprintf("%d:%q", p.Line, text[:min(7, len(text))])
}

// problems reads a dataset and returns what was found, one string each, with
// the beginning of the text that each points at.
func problems(t *testing.T, file string, limits data.Limits) []string {
	t.Helper()
	_, err := data.ReadAll(strings.NewReader(file), limits)
	if err == nil {
		return nil
	}
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Unprocessable || f.Code != "invalid_dataset" {
		t.Fatalf("error %v is no refusal of a dataset", err)
	}
	var out []string
	for _, p := range f.Details.([]data.Problem) {
		if p.Message == "" {
			t.Errorf("no message in %+v", p)
		}
		out = append(out, fmt.Sprintf("%s %d %s %s", there(file, p), p.Conversation, p.Path, p.Code))
	}
	return out
}

func TestReadAccepts(t *testing.T) {
	one := chat.Conversation{Messages: []chat.Message{{Role: "user", Content: "hola"}, {Role: "assistant", Content: "qué tal"}}}
	conv := func(contents ...string) chat.Conversation {
		var c chat.Conversation
		for i, s := range contents {
			c.Messages = append(c.Messages, chat.Message{Role: []chat.Role{"user", "assistant"}[i%2], Content: s})
		}
		return c
	}
	tests := map[string]struct {
		file string
		want []chat.Conversation
	}{
		"array":               {"[" + good + "," + good + "]", []chat.Conversation{one, one}},
		"array, spread out":   {" \n[\r\n\t" + strings.ReplaceAll(good, ":", " :\n ") + "\n,\n" + good + "\n]\n\n", []chat.Conversation{one, one}},
		"lines":               {good + "\n" + good + "\n", []chat.Conversation{one, one}},
		"lines, no last end":  {good + "\n" + good, []chat.Conversation{one, one}},
		"lines, CRLF, blanks": {"\r\n" + good + " \r\n\r\n \t\n" + good + "\r\n\r\n", []chat.Conversation{one, one}},
		"byte order mark":     {"\uFEFF" + good, []chat.Conversation{one}},
		"fields in any order": {`{"messages":[{"content":"hola","role":"user"},{"content":"qué tal","role":"assistant"}]}`, []chat.Conversation{one}},
		"system": {`{"messages":[{"role":"system","content":"s"},` + user + `,` + bot + `]}`,
			[]chat.Conversation{{Messages: append([]chat.Message{{Role: "system", Content: "s"}}, one.Messages...)}}},
		"escapes": {`{"messages":[{"role":"user","content":"\"\\\/\b\f\n\r\t\u00f1\u00D1\ud83d\ude00"},{"role":"assistant","content":" x\n"}]}`,
			[]chat.Conversation{conv("\"\\/\b\f\n\r\tñÑ😀", " x\n")}},
		"special tokens are text": {`{"messages":[{"role":"user","content":"<|im_end|>"},{"role":"assistant","content":"</s>"}]}`,
			[]chat.Conversation{conv("<|im_end|>", "</s>")}},
		"line separators": {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\u2028b\u0085\"},{\"role\":\"assistant\",\"content\":\"\u2029c\"}]}",
			[]chat.Conversation{conv("a\u2028b\u0085", "\u2029c")}},
		"several turns": {`{"messages":[` + user + `,` + bot + `,` + user + `,` + bot + `]}`,
			[]chat.Conversation{{Messages: slices.Concat(one.Messages, one.Messages)}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(test.file), iotest.OneByteReader(strings.NewReader(test.file))} {
				got, err := data.ReadAll(r, data.DefaultLimits())
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(test.want, got); d != "" {
					t.Error(d)
				}
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	says := func(role, content string) string { return `{"role":` + role + `,"content":` + content + `}` }
	turns := func(all ...string) string { return `{"messages":[` + strings.Join(all, ",") + `]}` }
	tests := map[string]struct {
		file string
		want []string
	}{
		"empty":                  {"", []string{`1:"" -1  empty_dataset`}},
		"blank":                  {" \n\n\t", []string{`3:"" -1  empty_dataset`}},
		"empty array":            {"[]", []string{`1:"" -1  empty_dataset`}},
		"a number":               {"12", []string{`1:"12" -1  invalid_json`}},
		"a string":               {`"x"`, []string{`1:"\"x\"" -1  invalid_json`}},
		"UTF-16":                 {"\xFF\xFE{\x00", []string{`1:"\xff\xfe{\x00" -1  unsupported_encoding`}},
		"UTF-16 big end":         {"\xFE\xFF\x00{", []string{`1:"\xfe\xff\x00{" -1  unsupported_encoding`}},
		"UTF-16 without mark":    {"[\x00{\x00", []string{`1:"[\x00{\x00" -1  unsupported_encoding`}},
		"element of array":       {"[1," + good + `,"x",null]`, []string{`1:"1,{\"mes" 0 [0] wrong_type`, `1:"\"x\",nul" 2 [2] wrong_type`, `1:"null]" 3 [3] wrong_type`}},
		"line that is a number":  {good + "\n12\n" + good, []string{`2:"12\n" 1 [1] wrong_type`}},
		"trailing comma":         {"[" + good + ",]", []string{`1:"]" 0 [0] invalid_json`}},
		"no comma":               {"[" + good + good + "]", []string{`1:"{\"messa" 0 [0] invalid_json`}},
		"array not closed":       {"[" + good, []string{`1:"" 0 [0] invalid_json`}},
		"behind the array":       {"[" + good + "] x", []string{`1:"x" -1  trailing_data`}},
		"two on a line":          {good + good + "\n" + good, []string{`1:"{\"messa" 0 [0] trailing_data`}},
		"comment":                {good + " // x", []string{`1:"// x" 0 [0] trailing_data`}},
		"not a number":           {"{\"messages\":NaN}\n" + good + "\n{\"messages\":-Infinity}", []string{`1:"NaN}\n" 0 [0] invalid_json`, `3:"Infinit" 2 [2] invalid_json`}},
		"single quotes":          {"{'messages':[]}", []string{`1:"'messag" 0 [0] invalid_json`}},
		"every line on its own":  {"{\n" + good + "\n{}\n", []string{`1:"\n" 0 [0] invalid_json`}},
		"a broken line between":  {good + "\n{\"messages\":[\n" + good + "\n{\"messages\":\"" + "\n{}", []string{`2:"\n" 1 [1].messages[0] invalid_json`, `4:"\n" 3 [3] invalid_json`, `5:"{}" 4 [4].messages missing_field`}},
		"control character":      {turns(says(`"user"`, "\"a\tb\""), bot), []string{`1:"\tb\"},{\"" 0 [0].messages[0] invalid_json`}},
		"bad escape":             {turns(says(`"user"`, `"a\xb"`), bot), []string{`1:"xb\"},{\"" 0 [0].messages[0] invalid_json`}},
		"bad hexadecimal":        {turns(says(`"user"`, `"\u00g0"`), bot), []string{`1:"g0\"},{\"" 0 [0].messages[0] invalid_json`}},
		"latin-1":                {turns(says(`"user"`, "\"a\xF1o \xF3\""), says(`"assistant"`, "\"\xC0\x80\"")), []string{`1:"\xf1o \xf3\"}," 0 [0].messages[0] invalid_utf8`, `1:"\xc0\x80\"}]}" 0 [0].messages[1] invalid_utf8`}},
		"surrogate in UTF-8":     {turns(says(`"user"`, "\"\xED\xA0\x80\""), bot), []string{`1:"\xed\xa0\x80\"},{" 0 [0].messages[0] invalid_utf8`}},
		"lone surrogates":        {turns(says(`"user"`, `"\ud800"`), says(`"assistant"`, `"\udc00\ud800"`)), []string{`1:"\\ud800\"" 0 [0].messages[0] invalid_utf8`, `1:"\\udc00\\" 0 [0].messages[1] invalid_utf8`}},
		"surrogate and letter":   {turns(says(`"user"`, `"\ud800\u0041"`), bot), []string{`1:"\\ud800\\" 0 [0].messages[0] invalid_utf8`}},
		"NUL":                    {turns(says(`"user"`, `"a\u0000"`), bot), []string{`1:"\\u0000\"" 0 [0].messages[0] invalid_utf8`}},
		"duplicate key":          {`{"messages":[{"role":"user","role":"system","content":"x"},` + bot + `],"messages":[` + user + `,` + bot + `]}`, []string{`1:"\"role\":" 0 [0].messages[0].role duplicate_key`, `1:"\"messag" 0 [0].messages duplicate_key`}},
		"escaped duplicate":      {`{"messages":[{"role":"user","content":"x","r\u006fle":"user"},` + bot + `]}`, []string{`1:"\"r\\u006" 0 [0].messages[0].role duplicate_key`}},
		"unknown fields":         {`{"id":7,"messages":[{"role":"user","content":"x","name":{"a":[1,2]}},` + bot + `]}`, []string{`1:"\"id\":7," 0 [0].id unknown_field`, `1:"\"name\":" 0 [0].messages[0].name unknown_field`}},
		"no messages":            {`{}`, []string{`1:"{}" 0 [0].messages missing_field`}},
		"empty messages":         {`{"messages":[]}`, []string{`1:"[]}" 0 [0].messages empty_conversation`}},
		"messages an object":     {`{"messages":{}}`, []string{`1:"{}}" 0 [0].messages wrong_type`}},
		"message a string":       {`{"messages":["x",` + bot + `]}`, []string{`1:"\"x\",{\"r" 0 [0].messages[0] wrong_type`}},
		"no role, no content":    {`{"messages":[{},` + bot + `]}`, []string{`1:"{},{\"ro" 0 [0].messages[0].role missing_field`, `1:"{},{\"ro" 0 [0].messages[0].content missing_field`}},
		"content null":           {turns(says(`"user"`, `null`), bot), []string{`1:"null},{" 0 [0].messages[0].content wrong_type`}},
		"content parts":          {turns(says(`"user"`, `[{"type":"text","text":"x"}]`), bot), []string{`1:"[{\"type" 0 [0].messages[0].content wrong_type`}},
		"content a number":       {turns(says(`"user"`, `-0`), says(`"assistant"`, `1e999`)), []string{`1:"-0},{\"r" 0 [0].messages[0].content wrong_type`, `1:"1e999}]" 0 [0].messages[1].content wrong_type`}},
		"content empty":          {turns(says(`"user"`, `""`), says(`"assistant"`, `" \n"`)), []string{`1:"\"\"},{\"r" 0 [0].messages[0].content empty_content`, `1:"\" \\n\"}]" 0 [0].messages[1].content empty_content`}},
		"role unknown":           {turns(says(`"human"`, `"x"`), bot), []string{`1:"\"human\"" 0 [0].messages[0].role unknown_role`}},
		"role of a tool":         {turns(user, says(`"tool"`, `"x"`), bot), []string{`1:"\"tool\"," 0 [0].messages[1].role unknown_role`}},
		"role in capitals":       {turns(says(`"User"`, `"x"`), bot), []string{`1:"\"User\"," 0 [0].messages[0].role unknown_role`}},
		"role true":              {turns(says(`true`, `"x"`), bot), []string{`1:"true,\"c" 0 [0].messages[0].role wrong_type`}},
		"assistant first":        {turns(bot, user, bot), []string{`1:"\"assist" 0 [0].messages[0].role role_order`}},
		"user last":              {turns(user, bot, user), []string{`1:"\"user\"," 0 [0].messages[2].role role_order`}},
		"user only":              {turns(user), []string{`1:"\"user\"," 0 [0].messages[0].role role_order`}},
		"system only":            {turns(says(`"system"`, `"x"`)), []string{`1:"\"system" 0 [0].messages[0].role role_order`}},
		"two users":              {turns(user, user, bot), []string{`1:"\"user\"," 0 [0].messages[1].role role_order`}},
		"two assistants":         {turns(user, bot, bot), []string{`1:"\"assist" 0 [0].messages[2].role role_order`}},
		"two systems":            {turns(says(`"system"`, `"x"`), says(`"system"`, `"x"`), user, bot), []string{`1:"\"system" 0 [0].messages[1].role role_order`}},
		"late system":            {turns(user, says(`"system"`, `"x"`), bot), []string{`1:"\"system" 0 [0].messages[1].role role_order`}},
		"system, then assistant": {turns(says(`"system"`, `"x"`), bot), []string{`1:"\"assist" 0 [0].messages[1].role role_order`}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := problems(t, test.file, data.DefaultLimits())
			if d := cmp.Diff(test.want, got); d != "" {
				t.Errorf("%s\n%s", test.file, d)
			}
		})
	}
}

// TestReadJSON holds the scanner to the grammar: no such line may pass. The
// cases are of the kinds that JSON test suites have.
func TestReadJSON(t *testing.T) {
	values := []string{
		"[1,]", "[,1]", "[1,,2]", "[1 2]", "[", "]", "[1", "{", "}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{:1}", "{\"a\" 1}", "{a:1}", "{1:1}", "{\"a\":1 \"b\":2}", "{,}", "{\"a\"::1}",
		"tru", "nul", "fals", "True", "truee", "nan", "NaN", "Infinity", "-Infinity", "-", "+1", "01", "-01", "1.", ".5", "1.e2", "1e", "1e+", "1e-", "0x10", "1_000", "--1", "-a", "1ea", "٣",
		"'a'", "\"a", "\"\\\"", "\"\\a\"", "\"\\u\"", "\"\\u12\"", "\"\\u123\"", "\"\\u123g\"", "\"\\U0041\"", "\"\\x41\"", "\"a\x00b\"", "\"a\x1fb\"", "\"\\\x00\"", "\"a\"b", "\"a\" \"b\"",
		"/**/1", "1//", "#", "\uFEFF1", "\u00A01", "\f1", "\v1", "1\x00", "<1>", "&", "\\n", "`a`", "[\"a\"", "[\"a", "{\"a\":\"", "{\"a\":[}", "[{]", "[}", "{]", "1]", "1}",
	}
	for _, v := range values {
		line := `{"messages":[` + user + `,` + bot + `],"x":` + v + `}`
		got := problems(t, line, data.DefaultLimits())
		if !slices.ContainsFunc(got, func(p string) bool {
			return strings.HasSuffix(p, "invalid_json") || strings.HasSuffix(p, "trailing_data")
		}) {
			t.Errorf("%q: %v, want broken JSON", v, got)
		}
	}
	for _, v := range []string{"0", "-0", "1e999", "-1.5E+10", "[]", "{}", " [ ] ", "[[],{}]", `{"":""}`, `"\u0001\uD834\uDD1E"`, "true", "false", "null", "\"\x7f\""} {
		line := `{"messages":[` + user + `,` + bot + `],"x":` + v + `}`
		if got := problems(t, line, data.DefaultLimits()); len(got) != 1 || !strings.HasSuffix(got[0], "0 [0].x unknown_field") {
			t.Errorf("%q: %v, want one unknown field", v, got)
		}
	}
}

func TestReadLimits(t *testing.T) {
	long := strings.Repeat("a", 500)
	longLine := `{"messages":[{"role":"user","content":"` + long + `"},` + bot + `]}`
	tests := map[string]struct {
		file   string
		limits data.Limits
		want   []string
	}{
		"long line":              {good + "\n" + longLine + "\n" + good + "\n{}", data.Limits{LineBytes: 100}, []string{`2:"{\"messa" 1 [1] line_too_long`, `4:"{}" 3 [3].messages missing_field`}},
		"long element":           {"[" + good + "," + longLine + "," + good + ",{}]", data.Limits{LineBytes: 100}, []string{`1:"{\"messa" 1 [1] line_too_long`, `1:"{}]" 3 [3].messages missing_field`}},
		"lines of the very size": {good + "\n" + good, data.Limits{LineBytes: len(good)}, nil},
		"a byte too much":        {good + "\n" + good, data.Limits{LineBytes: len(good) - 1}, []string{`1:"{\"messa" 0 [0] line_too_long`, `2:"{\"messa" 1 [1] line_too_long`}},
		"conversations":          {good + "\n" + good + "\n" + good, data.Limits{Conversations: 2}, []string{`3:"{\"messa" 2 [2] too_many_conversations`}},
		"messages":               {`{"messages":[` + user + `,` + bot + `,` + user + `,` + bot + `]}`, data.Limits{Messages: 2}, []string{`1:"{\"role\"" 0 [0].messages[2] too_many_messages`}},
		"depth":                  {`{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "}\n{}", data.DefaultLimits(), []string{`1:"\"a\":[[[" 0 [0].a unknown_field`, `1:"[[[[[[[" 0 [0] json_too_deep`, `2:"{}" 1 [1].messages missing_field`}},
		"a million brackets":     {strings.Repeat("[", 1e6), data.DefaultLimits(), []string{`1:"[[[[[[[" 0 [0] json_too_deep`}},
		"a million objects":      {strings.Repeat(`{"a":`, 1e5), data.Limits{}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := problems(t, test.file, test.limits)
			if test.want == nil && name != "lines of the very size" {
				if len(got) == 0 {
					t.Error("accepted")
				}
				return
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestReadTooLarge(t *testing.T) {
	file := good + "\n" + good + "\n"
	if _, err := data.ReadAll(strings.NewReader(file), data.Limits{Bytes: int64(len(file))}); err != nil {
		t.Error(err)
	}
	for _, file := range []string{file, "[" + good + "," + good + "]", "{\"messages\":[", strings.Repeat(" ", 200)} {
		_, err := data.ReadAll(strings.NewReader(file), data.Limits{Bytes: int64(len(file) - 1)})
		if fault.KindOf(err) != fault.TooLarge {
			t.Errorf("%.20q…: %v, want too large", file, err)
		}
	}
}

func TestReadStopsAtAThousand(t *testing.T) {
	got := problems(t, strings.Repeat("{}\n", 5000), data.DefaultLimits())
	if len(got) != 1000 {
		t.Errorf("%d problems, want 1000", len(got))
	}
}

func TestReadErrors(t *testing.T) {
	broken := errors.New("the wire was cut")
	_, err := data.ReadAll(io.MultiReader(strings.NewReader(good+"\n{\"messages\""), iotest.ErrReader(broken)), data.DefaultLimits())
	if !errors.Is(err, broken) {
		t.Errorf("%v, want the reader's error", err)
	}
	full := errors.New("disk full")
	for _, file := range []string{good + "\n" + good, "[" + good + "]"} {
		err = data.Read(strings.NewReader(file), data.DefaultLimits(), func(chat.Conversation) error { return full })
		if !errors.Is(err, full) {
			t.Errorf("%v, want the error of keep", err)
		}
	}
}

// endless gives the same line again and again.
type endless struct {
	line []byte
	left int
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := min(copy(p, e.line[e.at:]), e.left)
	e.at = (e.at + n) % len(e.line)
	e.left -= n
	return n, nil
}

func TestWriteReadsBack(t *testing.T) {
	want := []chat.Conversation{
		{Messages: []chat.Message{{Role: "user", Content: "a<b>&c \u2028 \"ñ\" \\frac{1}{2}"}, {Role: "assistant", Content: "😀\n\t"}}},
		{Messages: []chat.Message{{Role: "system", Content: "x"}, {Role: "user", Content: "y"}, {Role: "assistant", Content: "z"}}},
	}
	var b bytes.Buffer
	if err := data.Write(&b, slices.Values(want)); err != nil {
		t.Fatal(err)
	}
	got, err := data.ReadAll(&b, data.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func BenchmarkRead(b *testing.B) {
	line := `{"messages":[{"role":"user","content":"¿Cuánto es la mitad de tres cuartos?"},` + bot + "]}\n"
	const size = 8 << 20
	b.SetBytes(size)
	for b.Loop() {
		err := data.Read(&endless{line: []byte(line), left: size / len(line) * len(line)}, data.DefaultLimits(), func(chat.Conversation) error { return nil })
		if err != nil {
			b.Fatal(err)
		}
	}
}
