package chat

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/ardanlabs/jinja"

	"afina/internal/fault"
)

// What a template may take. Real ones stay far below: the largest published are
// 30 KiB of source, and contents are single runes while they run.
const (
	maxSource = 128 << 10 // bytes of source: bounds the depth of its expressions
	maxTicks  = 200_000   // loop turns, calls and assignments, per rendering
	maxCalls  = 64        // calls inside calls
	maxValue  = 64 << 10  // bytes or elements of one variable
	maxOutput = 32 << 20  // bytes, by an estimate from above while it runs
	maxTime   = 5 * time.Second
)

// program is a compiled template with a meter in it: the engine has no limits
// of its own, so every loop turn, call and assignment is made to call back.
type program struct{ template *jinja.Template }

// compile refuses a template that cannot be parsed, with the reason.
func compile(source string) (p *program, err error) {
	if len(source) > maxSource {
		return nil, fmt.Errorf("the template has %d bytes; at most %d are accepted", len(source), maxSource)
	}
	if i := strings.IndexFunc(source, func(r rune) bool { return r >= firstMark && r <= lastMark }); i >= 0 {
		return nil, fmt.Errorf("the template has a private-use rune at byte %d", i)
	}
	if strings.Contains(source, meterName) {
		return nil, fmt.Errorf("the template uses the name %s, which is kept for its meter", meterName)
	}
	metered, err := meter(source)
	if err != nil {
		return nil, err
	}
	defer guard(&err)
	template, err := jinja.Compile(metered)
	if err != nil {
		return nil, err
	}
	return &program{template}, nil
}

// guard turns a panic of the engine into an error.
func guard(err *error) {
	if r := recover(); r != nil {
		*err = fault.New(fault.Unprocessable, "the template engine failed: %v", r).WithCode("template_failed")
	}
}

// view is a conversation as a template sees it: with marks for contents.
type view struct {
	messages []shown
	tools    []shownTool
	open     bool
	bos, eos string
}

type shown struct {
	Message
	calls   []shownCall
	answers string // the id of the call that a tool's message answers
}

type shownCall struct{ id, name, arguments string }

// shownTool is a tool as one mark, or as its fields, by toolFields.
type shownTool struct {
	whole  string
	fields map[string]string
}

// render runs the program over a conversation.
func (p *program) render(c view) (string, error) {
	list := make([]jinja.Value, len(c.messages))
	use := newUsage()
	for i, m := range c.messages {
		v := jinja.NewDict()
		v.AsDict().Set("role", jinja.NewString(string(m.Role)))
		v.AsDict().Set("content", jinja.NewString(m.Content))
		if len(m.calls) > 0 {
			v.AsDict().Set("tool_calls", called(m.calls))
		}
		if m.answers != "" {
			v.AsDict().Set("tool_call_id", jinja.NewString(m.answers))
		}
		list[i] = v
		use.contents += len(m.Content)
		use.largest = max(use.largest, len(m.Content))
	}
	tools := jinja.None()
	if len(c.tools) > 0 {
		items := make([]jinja.Value, len(c.tools))
		for i, tool := range c.tools {
			items[i] = tool.value()
		}
		tools = jinja.NewList(items)
	}
	return p.run(use, map[string]jinja.Value{
		"messages":              jinja.NewList(list),
		"add_generation_prompt": jinja.NewBool(c.open),
		"bos_token":             jinja.NewString(c.bos),
		"eos_token":             jinja.NewString(c.eos),
		"tools":                 tools,
		"documents":             jinja.None(),
	})
}

// called is the list of calls that templates look for in a message.
func called(calls []shownCall) jinja.Value {
	list := make([]jinja.Value, len(calls))
	for i, call := range calls {
		function := jinja.NewDict()
		function.AsDict().Set("name", jinja.NewString(call.name))
		function.AsDict().Set("arguments", jinja.NewString(call.arguments))
		list[i] = aFunction(function)
		list[i].AsDict().Set("id", jinja.NewString(call.id))
	}
	return jinja.NewList(list)
}

// value is the tool as a template sees it.
func (t shownTool) value() jinja.Value {
	if t.fields == nil {
		return jinja.NewString(t.whole)
	}
	function := jinja.NewDict()
	for _, name := range toolFields {
		if mark, ok := t.fields[name]; ok {
			function.AsDict().Set(name, jinja.NewString(mark))
		}
	}
	return aFunction(function)
}

func aFunction(function jinja.Value) jinja.Value {
	v := jinja.NewDict()
	v.AsDict().Set("type", jinja.NewString("function"))
	v.AsDict().Set("function", function)
	return v
}

// run runs the program with names and the meter's own.
func (p *program) run(use *usage, names map[string]jinja.Value) (out string, err error) {
	defer guard(&err)
	for name, f := range map[string]func([]jinja.Value, map[string]jinja.Value) (jinja.Value, error){
		"range": span, "strftime_now": today, "raise_exception": use.raise,
		turnName: use.turn, valueName: use.value, enterName: use.enter, leaveName: use.leave,
	} {
		names[name] = jinja.NewCallable(name, f)
	}
	out, err = p.template.RenderValues(names)
	switch {
	case use.raised != "":
		return "", fault.New(fault.Invalid, "the model's chat template refuses this conversation: %s", use.raised).WithCode("template_refused")
	case err != nil:
		return "", fault.New(fault.Unprocessable, "the model's chat template failed: %v", err).WithCode("template_failed")
	case len(out) > maxOutput+use.contents:
		return "", fault.New(fault.Unprocessable, "the model's chat template wrote %d bytes; at most %d are accepted", len(out), maxOutput+use.contents).WithCode("template_failed")
	}
	return out, nil
}

// usage is what one rendering has taken so far.
type usage struct {
	ticks, calls int
	deadline     time.Time
	contents     int // bytes of the contents as the template sees them
	largest      int // bytes of the largest value seen
	written      int // bytes that the loops may have written, at most
	raised       string
}

func newUsage() *usage { return &usage{ticks: maxTicks, deadline: time.Now().Add(maxTime)} }

var errBudget = errors.New("it takes too long, calls itself too deeply or builds too large a value")

func (u *usage) tick() error {
	u.ticks--
	if u.ticks < 0 || u.ticks%256 == 0 && time.Now().After(u.deadline) {
		return errBudget
	}
	return nil
}

// turn counts one turn of a loop, whose body has args[0] bytes and prints
// args[1] values.
func (u *usage) turn(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	u.written += int(args[0].AsInt()) + int(args[1].AsInt())*u.largest
	if u.written > maxOutput+u.contents {
		return jinja.None(), errBudget
	}
	return jinja.None(), u.tick()
}

// value looks at values just bound to names.
func (u *usage) value(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	limit := maxValue + u.contents
	room := limit
	for _, v := range args {
		if room = measure(v, room, 0); room < 0 {
			return jinja.None(), errBudget
		}
	}
	u.largest = max(u.largest, limit-room)
	return jinja.None(), u.tick()
}

// enter counts a call and looks at its arguments.
func (u *usage) enter(args []jinja.Value, kw map[string]jinja.Value) (jinja.Value, error) {
	if u.calls++; u.calls > maxCalls {
		return jinja.None(), errBudget
	}
	return u.value(args, kw)
}

func (u *usage) leave([]jinja.Value, map[string]jinja.Value) (jinja.Value, error) {
	u.calls--
	return jinja.None(), nil
}

// measure takes the size of v from room; below zero it is too large.
func measure(v jinja.Value, room, depth int) int {
	if room < 0 || depth > maxCalls {
		return -1
	}
	room--
	switch {
	case v.IsString():
		room -= len(v.AsString())
	case v.IsList():
		for _, x := range v.AsList().Items {
			if room = measure(x, room, depth+1); room < 0 {
				break
			}
		}
	case v.IsDict():
		for key, x := range v.AsDict().Data {
			if room = measure(x, room-len(key), depth+1); room < 0 {
				break
			}
		}
	}
	return room
}

// span is Jinja's range with an end to it.
func span(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	n := [3]int64{0, 0, 1}
	for i, v := range args {
		if i >= len(n) || !v.IsInt() {
			return jinja.None(), errors.New("range takes one to three integers")
		}
		n[i] = v.AsInt()
	}
	start, stop, step := n[0], n[1], n[2]
	if len(args) == 1 {
		start, stop = 0, start
	}
	if len(args) == 0 || step == 0 {
		return jinja.None(), errors.New("range takes one to three integers, and no step of zero")
	}
	var items []jinja.Value
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		if len(items) == maxValue {
			return jinja.None(), errBudget
		}
		items = append(items, jinja.NewInt(i))
	}
	return jinja.NewList(items), nil
}

func (u *usage) raise(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	u.raised = "it gives no reason"
	if len(args) > 0 && args[0].IsString() {
		u.raised = args[0].AsString()
	}
	return jinja.None(), errors.New(u.raised)
}

// today is the day that templates write where they write the date. It stands
// still, so that a prompt tomorrow is the one that was trained on today; it is
// the day that Llama 3's template falls back to.
func today(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	format := "%Y-%m-%d"
	if len(args) > 0 && args[0].IsString() {
		format = args[0].AsString()
	}
	return jinja.NewString(strings.NewReplacer(
		"%Y", "2024", "%y", "24", "%m", "07", "%-m", "7", "%b", "Jul", "%B", "July", "%d", "26", "%-d", "26",
		"%A", "Friday", "%a", "Fri", "%H", "00", "%I", "12", "%M", "00", "%S", "00", "%p", "AM", "%j", "208", "%%", "%",
	).Replace(format)), nil
}

// The names that the meter adds to a template.
const (
	meterName = "_meter"
	turnName  = "_meter_turn"
	valueName = "_meter_value"
	enterName = "_meter_enter"
	leaveName = "_meter_leave"
)

// meter writes a source for the engine: every tag that begins a loop, a macro or
// a call or sets a variable has a statement behind it, and every one that ends a
// macro or a call has one before it.
func meter(source string) (string, error) {
	pieces, err := takeApart(source)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	bodies := loopBodies(pieces)
	var blocks []string // variables whose value is the text up to endset
	for i, p := range pieces {
		switch p.kind {
		case 't':
			b.WriteString("{{ " + quote(p.text) + " }}")
		case '{':
			b.WriteString("{{ " + p.text + " }}")
		default:
			statement(&b, strings.TrimSpace(p.text), bodies[i], &blocks)
		}
	}
	return b.String(), nil
}

// word is the first word of a statement.
func word(statement string) string {
	if i := strings.IndexAny(statement, " \t\n("); i >= 0 {
		return statement[:i]
	}
	return statement
}

// loopBody is what a loop may write in one turn: bytes of its own, and values.
type loopBody struct{ bytes, values int }

// loopBodies measures the loops by the index of the piece that begins each.
func loopBodies(pieces []piece) map[int]loopBody {
	bodies := map[int]loopBody{}
	var open []int
	bytes, values := 0, 0
	for i, p := range pieces {
		bytes += len(p.text)
		if p.kind == '{' {
			values++
		}
		if p.kind != '%' {
			continue
		}
		switch n := len(open) - 1; word(strings.TrimSpace(p.text)) {
		case "for":
			open = append(open, i)
			bodies[i] = loopBody{bytes, values}
		case "endfor":
			if n >= 0 {
				begun := bodies[open[n]]
				bodies[open[n]] = loopBody{bytes - begun.bytes, values - begun.values}
				open = open[:n]
			}
		}
	}
	return bodies
}

// statement writes one statement with its meter.
func statement(b *strings.Builder, s string, body loopBody, blocks *[]string) {
	tag := "{% " + s + " %}"
	call := func(name, args string) string { return "{% set " + meterName + " = " + name + "(" + args + ") %}" }
	switch word(s) {
	case "for":
		tag += call(turnName, fmt.Sprintf("%d, %d", body.bytes, body.values))
	case "set":
		if m := setTag.FindStringSubmatch(s); m != nil && m[2] == "=" {
			tag += call(valueName, m[1])
		} else if m != nil {
			*blocks = append(*blocks, m[1])
		}
	case "endset":
		if n := len(*blocks) - 1; n >= 0 {
			tag += call(valueName, (*blocks)[n])
			*blocks = (*blocks)[:n]
		}
	case "macro":
		if m := macroTag.FindStringSubmatch(s); m != nil {
			tag += call(enterName, params(m[1]))
		}
	case "call":
		tag += call(enterName, "")
	case "endmacro", "endcall":
		tag = call(leaveName, "") + tag
	}
	b.WriteString(tag)
}

var (
	setTag   = regexp.MustCompile(`^set\s+([A-Za-z_][A-Za-z0-9_.]*)\s*(=?)`)
	macroTag = regexp.MustCompile(`(?s)^macro\s+[A-Za-z_][A-Za-z0-9_]*\s*\((.*)\)$`)
	param    = regexp.MustCompile(`^\s*([A-Za-z_][A-Za-z0-9_]*)\s*(=|$)`)
)

// params returns the names of a macro's parameters.
func params(list string) string {
	var names []string
	for part := range strings.SplitSeq(list, ",") {
		if m := param.FindStringSubmatch(part); m != nil {
			names = append(names, m[1])
		}
	}
	return strings.Join(names, ", ")
}
