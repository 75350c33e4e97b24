package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// crowd is many clients of one service who do as people do: they come, ask, read,
// stall, leave, and get things wrong.
type crowd struct {
	base   string
	keys   []string // of the clients, in turn
	models []string // to ask
	live   string   // a model that learns meanwhile: it may not be ready, and its answers change
	job    string   // to watch

	// busy is how many questions the service takes at once: below it none may be
	// refused.
	busy int

	mu      sync.Mutex
	kinds   map[string]*tally
	answers map[string]string // by what fixes an answer: model, question, seed
	same    int               // answers that were there already, and were the same
	first   []time.Duration   // until the first text of a stream
	tokens  int
	last    time.Time     // when a client last read a text
	silence time.Duration // the longest in which none did
	faults  []string
}

// tally is how the requests of a kind ended.
type tally struct {
	sent, whole, left, refused int         // refused: 429 and 503 that were due
	statuses                   map[int]int // of the answers that had one
}

// act is one thing that a client does. It returns how the server's part ended.
type act struct {
	name   string
	weight int
	do     func(p *person, ctx context.Context) error
}

var acts = []act{
	{"stream", 30, func(p *person, ctx context.Context) error { return p.stream(ctx, p.question(), reading{}) }},
	{"stall, then read on", 8, func(p *person, ctx context.Context) error {
		q := p.question()
		q["logprobs"], q["top_logprobs"] = true, 20 // enough to fill what lies between
		return p.stream(ctx, q, reading{stallAt: 1 + p.rng.IntN(8), stall: time.Duration(1+p.rng.IntN(6)) * time.Second})
	}},
	{"leave in the middle", 12, func(p *person, ctx context.Context) error {
		return p.stream(ctx, p.question(), reading{leaveAt: 2 + p.rng.IntN(12)})
	}},
	{"leave before a token", 10, (*person).impatient},
	{"stall and leave", 3, func(p *person, ctx context.Context) error {
		return p.stream(ctx, p.question(), reading{stallAt: 1 + p.rng.IntN(4), stall: time.Duration(1+p.rng.IntN(4)) * time.Second, leaveAt: 5})
	}},
	{"whole", 10, (*person).whole},
	{"three choices", 6, func(p *person, ctx context.Context) error {
		q := p.question()
		q["n"] = 3
		return p.stream(ctx, q, reading{})
	}},
	{"json_schema", 6, (*person).schema},
	{"completions", 4, (*person).text},
	{"running job's model", 3, (*person).ofJob},
	{"wrong", 9, (*person).wrong},
	{"half a request", 2, (*person).half},
	{"models", 4, func(p *person, ctx context.Context) error { return p.get(ctx, "/v1/models", `"object":"list"`) }},
	{"lists", 3, func(p *person, ctx context.Context) error {
		return p.get(ctx, pick(p.rng, "/v1/fine_tuning/jobs?limit=2", "/v1/files", "/jobs", "/datasets", "/v1/fine_tuning/jobs/ftjob-"+strings.TrimPrefix(p.job, "job_")+"/events?limit=5"), `"has_more":`)
	}},
	{"embeddings, tokens", 3, (*person).small},
	{"events of the job", 5, (*person).watch},
}

// run lets n clients do as they like until ctx ends, when all leave at once, and
// returns when they have.
func (c *crowd) run(ctx context.Context, n int, seed uint64) {
	total := 0
	for _, a := range acts {
		total += a.weight
		c.kinds[a.name] = &tally{statuses: map[int]int{}}
	}
	c.last = time.Now()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			p := &person{crowd: c, rng: rand.New(rand.NewPCG(seed, uint64(i))), key: c.keys[i%len(c.keys)]}
			p.come()
			defer p.leave()
			for ctx.Err() == nil {
				if p.rng.IntN(12) == 0 { // goes away, and comes back later
					p.leave()
					pause(ctx, time.Duration(p.rng.IntN(4000))*time.Millisecond)
					p.come()
				}
				at := p.rng.IntN(total)
				for _, a := range acts {
					if at -= a.weight; at < 0 {
						p.doing = c.kinds[a.name]
						err := a.do(p, ctx)
						c.note(ctx, a.name, err)
						var busy refusal
						if errors.As(err, &busy) { // tries again when it may help, if it has the patience
							pause(ctx, min(busy.after, time.Duration(1+p.rng.IntN(8))*time.Second))
						}
						break
					}
				}
				pause(ctx, time.Duration(p.rng.ExpFloat64()*300)*time.Millisecond)
			}
		})
	}
	wg.Wait()
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func pick[T any](rng *rand.Rand, all ...T) T { return all[rng.IntN(len(all))] }

// errLeft is a client who has left as it meant to.
var errLeft = errors.New("left")

// refusal is a 429 or a 503.
type refusal struct {
	status int
	after  time.Duration
}

func (r refusal) Error() string { return "status " + strconv.Itoa(r.status) }

// note counts what a client did.
func (c *crowd) note(ctx context.Context, kind string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.kinds[kind]
	t.sent++
	var busy refusal
	switch {
	case err == nil:
		t.whole++
	case errors.As(err, &busy):
		t.refused++
	case errors.Is(err, errLeft) || errors.Is(err, ctx.Err()): // or all had to leave
		t.left++
	default:
		if len(c.faults) < 40 {
			c.faults = append(c.faults, kind+": "+err.Error())
		}
	}
}

// person is one client.
type person struct {
	*crowd
	rng   *rand.Rand
	key   string
	http  *http.Client
	doing *tally
}

// come opens the client's connections: little fits into them unread.
func (p *person) come() {
	dial := &net.Dialer{Timeout: 20 * time.Second}
	p.http = &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 2,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial.DialContext(ctx, network, address)
			if tcp, ok := conn.(*net.TCPConn); ok {
				err = tcp.SetReadBuffer(4 << 10)
			}
			return conn, err
		},
	}}
}

func (p *person) leave() { p.http.CloseIdleConnections() }

// questions are few, so that they are asked again.
var questions = []string{
	"¿Qué es un número primo?", "Resuelve 3x + 4 = 19.", "¿Cuánto es el 15 % de 80?", "Deriva x² + 3x.",
	"Explica el teorema de Pitágoras con un ejemplo.", "What is the area of a circle of radius 3? Show each step, and then explain in your own words why the formula holds.",
}

// question is a request to chat.
func (p *person) question() map[string]any {
	q := map[string]any{
		"model": pick(p.rng, p.models...), "stream": true, "seed": p.rng.IntN(3),
		"max_tokens": pick(p.rng, 8, 24, 24, 64, 160), "temperature": pick(p.rng, 0, 0.7),
		"messages": []map[string]string{{"role": "user", "content": pick(p.rng, questions...)}},
	}
	if p.rng.IntN(2) == 0 {
		q["messages"] = append([]map[string]string{{"role": "system", "content": "Eres un profesor de matemáticas. Responde en pocas palabras, paso a paso y sin inventar nada."}}, q["messages"].([]map[string]string)...)
	}
	if p.rng.IntN(2) == 0 {
		q["stream_options"] = map[string]bool{"include_usage": true}
	}
	return q
}

// send posts body and returns the answer if it is a 200. A refusal must be due.
func (p *person) send(ctx context.Context, path string, body any) (*http.Response, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	resp, err := p.call(ctx, http.MethodPost, path, "application/json", bytes.NewReader(text))
	if err != nil || resp.StatusCode == http.StatusOK {
		return resp, err
	}
	defer resp.Body.Close()
	e, err := envelopeOf(resp)
	if err != nil {
		return nil, err
	}
	after, err := p.due(resp, e)
	if err != nil {
		return nil, fmt.Errorf("%w\n\tto %s", err, text)
	}
	return nil, refusal{resp.StatusCode, after}
}

func (p *person) call(ctx context.Context, method, path, kind string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.base+path, body)
	if err != nil {
		return nil, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	req.Header.Set("Authorization", "Bearer "+p.key)
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doing.statuses[resp.StatusCode]++
	if resp.Header.Get("X-Request-Id") == "" {
		return nil, fmt.Errorf("%s %s: no x-request-id", method, path)
	}
	return resp, nil
}

// failure is the error of an envelope.
type failure struct{ Message, Type, Param, Code *string }

// envelopeOf reads the body of an answer that is not 2xx.
func envelopeOf(resp *http.Response) (failure, error) {
	var e struct{ Error map[string]json.RawMessage }
	var f failure
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return f, fmt.Errorf("status %d with %.200q", resp.StatusCode, text)
	}
	for name, to := range map[string]**string{"message": &f.Message, "type": &f.Type, "param": &f.Param, "code": &f.Code} {
		if err := json.Unmarshal(e.Error[name], to); err != nil {
			return f, fmt.Errorf("status %d: error.%s is %q in %s", resp.StatusCode, name, e.Error[name], text)
		}
	}
	if f.Message == nil || f.Type == nil {
		return f, fmt.Errorf("status %d says %s", resp.StatusCode, text)
	}
	return f, nil
}

// due checks that a request was refused because there was no room, and returns
// when it may be sent again.
func (p *person) due(resp *http.Response, f failure) (time.Duration, error) {
	after, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || after < 1 || f.Code == nil {
		return 0, fmt.Errorf("status %d, Retry-After %q: %s", resp.StatusCode, resp.Header.Get("Retry-After"), *f.Message)
	}
	var running, waiting int
	_, err = fmt.Sscanf(*f.Message, "%d requests are being answered and %d wait;", &running, &waiting)
	full := *f.Code == "overloaded" && err == nil && running+waiting >= p.busy
	learning := *f.Code == "not_ready" && strings.Contains(*f.Message, "in the middle of a long step")
	if resp.StatusCode != http.StatusServiceUnavailable || !full && !learning {
		return 0, fmt.Errorf("status %d %s was not due: %s", resp.StatusCode, *f.Code, *f.Message)
	}
	return time.Duration(after) * time.Second, nil
}

// heard notes that a client has read a text.
func (c *crowd) heard() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.silence, c.last = max(c.silence, now.Sub(c.last)), now
}

// reading is how a stream is read: 0 and none are to the end, at once.
type reading struct {
	stallAt int // the event before which it stalls
	stall   time.Duration
	leaveAt int // the event before which it leaves
}

// stream asks and reads a stream, which must be well-formed as far as it is read.
func (p *person) stream(ctx context.Context, q map[string]any, how reading) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	resp, err := p.send(ctx, "/v1/chat/completions", q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		return fmt.Errorf("the stream is %q", kind)
	}
	n, _ := q["n"].(int)
	s := &sheet{choices: make([]written, max(1, n)), usage: q["stream_options"] != nil}
	lines := bufio.NewReader(resp.Body)
	for events := 1; ; events++ {
		if events == how.leaveAt {
			return errLeft
		}
		if events == how.stallAt {
			pause(ctx, how.stall)
		}
		data, err := event(lines)
		if err == nil && data == "[DONE]" {
			if _, err = event(lines); !errors.Is(err, io.EOF) {
				return fmt.Errorf("after [DONE]: %v", err)
			}
			break
		}
		if err == nil {
			err = s.take(data)
		}
		if err != nil {
			return fmt.Errorf("event %d: %w", events, err)
		}
		if s.texts > 0 {
			p.heard()
		}
		if s.texts == 1 && s.first == 0 {
			s.first = time.Since(began)
		}
	}
	if err := s.check(); err != nil {
		return err
	}
	return p.keep(q, s)
}

// event reads the data of one event. Comments keep a connection alive.
func event(lines *bufio.Reader) (data string, err error) {
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			if line != "" {
				return "", fmt.Errorf("the stream ends in %.80q: %w", line, err)
			}
			return "", err
		}
		switch line = strings.TrimSuffix(line, "\n"); {
		case line == "" && data != "":
			return data, nil
		case strings.HasPrefix(line, "data: ") && data == "":
			data = strings.TrimPrefix(line, "data: ")
		case strings.HasPrefix(line, ":") && data == "", strings.HasPrefix(line, "event: "):
		default:
			return "", fmt.Errorf("a line %.80q", line)
		}
	}
}

// keep notes an answer, which must be the same whenever the same is asked.
func (p *person) keep(q map[string]any, s *sheet) error {
	text, err := json.Marshal([]any{q["model"], q["messages"], q["seed"], q["max_tokens"], q["temperature"], q["n"]})
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.first > 0 {
		p.first = append(p.first, s.first)
	}
	p.tokens += s.texts
	if q["model"] == p.live {
		return nil
	}
	var all strings.Builder
	for _, c := range s.choices {
		fmt.Fprintf(&all, "%q %s\n", c.text.String(), c.reason)
	}
	before, asked := p.answers[string(text)]
	if asked && before != all.String() {
		return fmt.Errorf("%s was answered\n\t%sand then\n\t%s", text, before, all.String())
	}
	if asked {
		p.same++
	}
	p.answers[string(text)] = all.String()
	return nil
}

// sheet is a stream as it has been read.
type sheet struct {
	id      string
	created int64
	choices []written
	opened  int
	usage   bool // was asked for
	told    bool // was told: nothing may follow
	texts   int
	first   time.Duration
}

// written is one choice.
type written struct {
	text   strings.Builder
	reason string
}

// take reads one chunk.
func (s *sheet) take(data string) error {
	var c struct {
		ID, Object string
		Created    int64
		Error      json.RawMessage
		Choices    []struct {
			Index int
			Delta struct{ Role, Content string }
			Why   string `json:"finish_reason"`
		}
		Usage *struct {
			Prompt     int `json:"prompt_tokens"`
			Completion int `json:"completion_tokens"`
			Total      int `json:"total_tokens"`
		}
	}
	if err := json.Unmarshal([]byte(data), &c); err != nil || !utf8.ValidString(data) {
		return fmt.Errorf("%.200q: %v", data, err)
	}
	if c.Error != nil {
		return fmt.Errorf("the answer broke off: %s", c.Error)
	}
	if s.id == "" {
		s.id, s.created = c.ID, c.Created
	}
	if s.told || c.ID != s.id || c.Created != s.created || c.Object != "chat.completion.chunk" {
		return fmt.Errorf("a chunk of another answer, or too late: %s", data)
	}
	if c.Usage != nil {
		s.told = true
		if !s.usage || len(c.Choices) > 0 || c.Usage.Prompt < 1 || c.Usage.Completion < len(s.choices) || c.Usage.Total != c.Usage.Prompt+c.Usage.Completion {
			return fmt.Errorf("usage in %s", data)
		}
		return nil
	}
	for _, x := range c.Choices {
		if x.Delta.Role != "" {
			if x.Index != s.opened || x.Delta.Role != "assistant" {
				return fmt.Errorf("choice %d is opened by %s", s.opened, data)
			}
			s.opened++
		}
		if x.Index < 0 || x.Index >= s.opened || s.choices[x.Index].reason != "" {
			return fmt.Errorf("choice %d is not open: %s", x.Index, data)
		}
		w := &s.choices[x.Index]
		w.text.WriteString(x.Delta.Content)
		w.reason = x.Why
		if x.Delta.Content != "" {
			s.texts++
		}
	}
	return nil
}

// check looks at the whole.
func (s *sheet) check() error {
	if s.usage != s.told {
		return errors.New("the usage is missing")
	}
	for i := range s.choices {
		if r := s.choices[i].reason; r != "stop" && r != "length" {
			return fmt.Errorf("choice %d ended by %q", i, r)
		}
	}
	return nil
}

// table is how all requests ended, in Markdown.
func (c *crowd) table() string {
	var b strings.Builder
	b.WriteString("| requests | sent | to the end | left | refused | statuses |\n|---|--:|--:|--:|--:|---|\n")
	var all tally
	for _, a := range acts {
		t := c.kinds[a.name]
		var statuses []string
		for code, n := range t.statuses {
			statuses = append(statuses, fmt.Sprintf("%d × %d", code, n))
		}
		slices.Sort(statuses)
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %s |\n", a.name, t.sent, t.whole, t.left, t.refused, strings.Join(statuses, ", "))
		all.sent, all.whole, all.left, all.refused = all.sent+t.sent, all.whole+t.whole, all.left+t.left, all.refused+t.refused
	}
	fmt.Fprintf(&b, "| all | %d | %d | %d | %d | |\n", all.sent, all.whole, all.left, all.refused)
	return b.String()
}
