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
		*err = fmt.Errorf("the template engine failed: %v", r)
	}
}

// render runs the program over messages.
func (p *program) render(messages []Message, open bool, bos, eos string) (out string, err error) {
	defer guard(&err)
	list := make([]jinja.Value, len(messages))
	for i, m := range messages {
		v := jinja.NewDict()
		v.AsDict().Set("role", jinja.NewString(string(m.Role)))
		v.AsDict().Set("content", jinja.NewString(m.Content))
		list[i] = v
	}
	use := &usage{ticks: maxTicks, deadline: time.Now().Add(maxTime)}
	for _, m := range messages {
		use.contents += len(m.Content)
		use.largest = max(use.largest, len(m.Content))
	}
	out, err = p.template.RenderValues(map[string]jinja.Value{
		"messages":              jinja.NewList(list),
		"add_generation_prompt": jinja.NewBool(open),
		"bos_token":             jinja.NewString(bos),
		"eos_token":             jinja.NewString(eos),
		"tools":                 jinja.None(),
		"documents":             jinja.None(),
		"range":                 jinja.NewCallable("range", use.span),
		"strftime_now":          jinja.NewCallable("strftime_now", today),
		"raise_exception":       jinja.NewCallable("raise_exception", use.raise),
		turnName:                jinja.NewCallable(turnName, use.turn),
		valueName:               jinja.NewCallable(valueName, use.value),
		enterName:               jinja.NewCallable(enterName, use.enter),
		leaveName:               jinja.NewCallable(leaveName, use.leave),
	})
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
func (u *usage) span(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
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

// meter adds a statement behind every tag that begins a loop, a macro or a call
// or sets a variable, and before every one that ends a macro or a call.
func meter(source string) (string, error) {
	var m metering
	rest := source
	for {
		i := strings.Index(rest, "{")
		if i < 0 || i+1 == len(rest) {
			return strings.Join(append(m.out, rest), ""), nil
		}
		m.out = append(m.out, rest[:i])
		rest = rest[i:]
		n := 1
		if strings.IndexByte("{%#", rest[1]) >= 0 {
			if n = tagLength(rest); n == 0 {
				return "", fmt.Errorf("a tag is not closed: %.40q", rest)
			}
		}
		tag := rest[:n]
		switch {
		case strings.HasPrefix(tag, "{%"):
			m.statement(tag, len(source)-len(rest))
		case strings.HasPrefix(tag, "{{"):
			m.prints++
			fallthrough
		default:
			m.out = append(m.out, tag)
		}
		rest = rest[n:]
	}
}

// metering is a template on its way through meter.
type metering struct {
	out    []string
	prints int        // values printed so far
	blocks []string   // variables whose value is the text up to endset
	loops  []openLoop // loops not yet closed
}

// openLoop is a loop whose length is not known yet: its tag will be out[slot],
// of the parts before and after the meter's arguments.
type openLoop struct {
	slot, start, prints int
	before, after       string
}

// tagLength returns the length of the tag that s begins with, 0 when it has no
// end. Quoted text inside a tag may hold anything; comments have no quotes.
func tagLength(s string) int {
	closer := map[byte]string{'{': "}}", '%': "%}", '#': "#}"}[s[1]]
	for i := 2; i < len(s); i++ {
		switch c := s[i]; {
		case (c == '\'' || c == '"') && s[1] != '#':
			for i++; i < len(s) && s[i] != c; i++ {
				if s[i] == '\\' {
					i++
				}
			}
		case strings.HasPrefix(s[i:], closer):
			return i + len(closer)
		}
	}
	return 0
}

var (
	setTag   = regexp.MustCompile(`^set\s+([A-Za-z_][A-Za-z0-9_.]*)\s*(=?)`)
	macroTag = regexp.MustCompile(`(?s)^macro\s+[A-Za-z_][A-Za-z0-9_]*\s*\((.*)\)$`)
	param    = regexp.MustCompile(`^\s*([A-Za-z_][A-Za-z0-9_]*)\s*(=|$)`)
)

// statement puts out the tag at a byte of the source, with its meter. The added
// one takes over the blank-trimming sign on the side where it stands.
func (m *metering) statement(tag string, at int) {
	inner, left, right := strings.TrimSuffix(strings.TrimPrefix(tag, "{%"), "%}"), "", ""
	if strings.HasPrefix(inner, "-") {
		inner, left = inner[1:], "-"
	}
	if strings.HasSuffix(inner, "-") {
		inner, right = inner[:len(inner)-1], "-"
	}
	inner = strings.TrimSpace(inner)
	after := func(name, args string) string {
		return "{%" + left + " " + inner + " %}{% set _meter = " + name + "(" + args + ") " + right + "%}"
	}
	word := inner
	if i := strings.IndexAny(inner, " \t\r\n("); i >= 0 {
		word = inner[:i]
	}
	switch word {
	case "for":
		before, behind, _ := strings.Cut(after(turnName, "\x00"), "\x00")
		m.loops = append(m.loops, openLoop{len(m.out), at, m.prints, before, behind})
	case "endfor":
		m.close(at)
	case "set":
		if found := setTag.FindStringSubmatch(inner); found != nil && found[2] == "=" {
			tag = after(valueName, found[1])
		} else if found != nil {
			m.blocks = append(m.blocks, found[1])
		}
	case "endset":
		if n := len(m.blocks) - 1; n >= 0 {
			tag = after(valueName, m.blocks[n])
			m.blocks = m.blocks[:n]
		}
	case "macro":
		if found := macroTag.FindStringSubmatch(inner); found != nil {
			tag = after(enterName, params(found[1]))
		}
	case "call":
		tag = after(enterName, "")
	case "endmacro", "endcall":
		tag = "{%" + left + " set _meter = " + leaveName + "() %}{% " + inner + " " + right + "%}"
	}
	m.out = append(m.out, tag)
}

// close fills in the tag of the innermost loop, which ends at a byte of the
// source. A loop that is never closed keeps its own tag; the parser refuses it.
func (m *metering) close(at int) {
	n := len(m.loops) - 1
	if n < 0 {
		return
	}
	l := m.loops[n]
	m.loops = m.loops[:n]
	m.out[l.slot] = fmt.Sprintf("%s%d, %d%s", l.before, at-l.start, m.prints-l.prints, l.after)
}

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
