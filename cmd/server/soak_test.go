package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"afina/internal/catalog"
	"afina/internal/jobs"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/modeltest"
	"afina/internal/parallel"
)

var soakFor = flag.Duration("soak", 0, "how long TestSoak lets a crowd at a server with the real model; 0: a quarter of a minute, with a tiny one")

const (
	soakShort   = 15 * time.Second
	soakClients = 64
	soakSlots   = 24
	soakQueue   = 24 // so few that some are refused

	// Memory of keys and values: so little that answers have to give way. How long
	// it takes to fill depends on the machine, so it is left out of the slope; that
	// it keeps to its bound is checked.
	soakCache = 160 << 20

	// soakSilence is for how long all clients together may hear nothing: a pass takes
	// less than a second, beside a job and whatever else the machine does.
	soakSilence = 10 * time.Second

	// soakSlope is how many MiB a minute the process may grow by after the first
	// minute. An answer comes to its end ten times a second or so; one that left
	// 10 KiB behind, as a goroutine with its stack and its request does, would be
	// 6 MiB a minute. What a job legitimately keeps, a point of its curve for each
	// step, is a few KiB a minute; the rest is the garbage collector's hesitation,
	// whose mean over minutes is flat.
	soakSlope = 4.0
)

// TestSoak lets 64 clients come, stream, stall, leave and get things wrong at
// random while a job trains. No request may fail but those for which there was no
// room; memory must be flat; and when all have left nothing of theirs may remain.
func TestSoak(t *testing.T) {
	long, length := *soakFor > 0, *soakFor
	if !long {
		length = soakShort
	}
	if testing.Short() && !long {
		t.Skip("it takes a quarter of a minute")
	}
	keys := []string{"soak-key-of-class-a", "soak-key-of-class-b", "soak-key-of-class-c"}
	s := newService(t, "AFINA_LOG__LEVEL=warn", "AFINA_HTTP__API_KEYS="+strings.Join(keys, ","),
		fmt.Sprint("AFINA_SERVE__SLOTS=", soakSlots), fmt.Sprint("AFINA_SERVE__QUEUE=", soakQueue), fmt.Sprint("AFINA_SERVE__CACHE_BYTES=", soakCache))
	s.Client.Key = keys[0]
	s.Base = "http://" + s.address // without the proxy of the contract: it would take its share of the cores
	base := "tiny"
	if long {
		base = "smollm2-135m-instruct"
		b, err := os.ReadFile(modeltest.Real(t))
		if err == nil {
			err = os.WriteFile(filepath.Join(s.models, base+".gguf"), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	adapters := publishRandom(t, s, base, 4)
	s.start()
	dataset, err := s.Upload(t.Context(), filepath.Join("..", "..", "dataset", "matematicas.json"), "mates")
	if err != nil {
		t.Fatal(err)
	}
	job := s.submit(map[string]any{"model": base, "dataset": dataset, "name": "all-day", "epochs": 1000})
	begun := s.progressed(job.ID, 0)
	c := &crowd{
		// Past the checker: connections and goroutines are counted.
		base: "http://" + s.address, keys: keys, models: append(adapters, base), live: job.ID + ":live", job: job.ID, busy: soakSlots + soakQueue,
		kinds: map[string]*tally{}, answers: map[string]string{},
	}
	c.warm(t)
	before := s.calm()
	t.Logf("before: %v", before)

	seed := uint64(time.Now().UnixNano())
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	recorded := s.record(ctx)
	c.run(ctx, soakClients, seed)
	samples := <-recorded
	trained := s.progressed(job.ID, begun.Progress.Step)

	after := s.settled(before)
	t.Logf("after: %v", after)
	t.Logf("%d clients for %v, seed %d\n%s", soakClients, length, seed, c.table())
	if c.kinds["stream"].whole == 0 {
		t.Fatal("no stream came to its end")
	}
	slices.Sort(c.first)
	quantile := func(q float64) time.Duration {
		return c.first[int(q*float64(len(c.first)-1))].Round(time.Millisecond)
	}
	t.Logf("pieces of text read: %d, with at most %v between two; first text after %v (median), %v (95 %%); %d answers were asked for again and were the same; the job made steps %d to %d",
		c.tokens, c.silence.Round(time.Millisecond), quantile(0.5), quantile(0.95), c.same, begun.Progress.Step, trained.Progress.Step)
	if c.silence > soakSilence {
		t.Errorf("for %v nobody was answered", c.silence)
	}
	for _, f := range c.faults {
		t.Error(f)
	}
	if long {
		flat(t, samples)
	}
	s.cancelled(job.ID)
	log := s.log
	if err := s.stop(); err != nil {
		t.Errorf("after SIGTERM: %v, want exit 0", err)
	}
	for _, bad := range []string{`"panic"`, "request failed", "DATA RACE"} {
		if i := strings.Index(log.String(), bad); i >= 0 {
			t.Errorf("the log has %s: %.600s", bad, log.String()[max(0, i-300):])
		}
	}
}

// publishRandom puts n adapters that change every projection a little on the
// service's shelf, before it starts, and returns their names.
func publishRandom(t *testing.T, s *service, base string, n int) (names []string) {
	t.Helper()
	pool := parallel.New(0)
	defer pool.Close()
	gang, err := kernel.NewGang(pool, "")
	if err != nil {
		t.Fatal(err)
	}
	shelf, err := catalog.New(catalog.Options{Models: s.models, Data: s.data}, nil, gang)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(s.data, "adapters"), 0o750); err != nil {
		t.Fatal(err)
	}
	m, err := shelf.Model(base)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		a, err := lora.New(m, 8, 16, nil, uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		for _, pairs := range a.Pairs {
			for _, slot := range a.Slots {
				for j := range pairs[slot].B {
					pairs[slot].B[j] = 0.02 * float32(math.Sin(float64(j*(i+2))))
				}
			}
		}
		a.Name = fmt.Sprint("group-", i)
		if _, err := shelf.Publish(a, m, ""); err != nil {
			t.Fatal(err)
		}
		names = append(names, a.Name)
	}
	return names
}

// warm asks every model once, so that what is opened for good is open.
func (c *crowd) warm(t *testing.T) {
	t.Helper()
	p := &person{crowd: c, key: c.keys[0], doing: &tally{statuses: map[int]int{}}}
	p.come()
	defer p.leave()
	for _, model := range append([]string{c.live}, c.models...) {
		for path, body := range map[string]map[string]any{
			"/v1/completions": {"model": model, "prompt": "x", "max_tokens": 2},
			"/v1/embeddings":  {"model": model, "input": "x"},
		} {
			var nothing struct{}
			if err := p.ask(t.Context(), path, body, &nothing); err != nil {
				t.Fatalf("%s of %s: %v", path, model, err)
			}
		}
	}
}

// progressed waits until a job is past a step.
func (s *service) progressed(id string, step int) jobs.Job {
	s.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		job, err := s.job(id)
		if err == nil && job.Progress.Step > step {
			return job
		}
		if err == nil && job.Finished != nil || time.Now().After(deadline) {
			s.t.Fatalf("the job is not past step %d: %+v %v", step, job, err)
		}
	}
}

// cancelled cancels a job, which must be over soon.
func (s *service) cancelled(id string) {
	s.t.Helper()
	if err := s.Post(s.t.Context(), "/jobs/"+id+"/cancel", struct{}{}, nil); err != nil {
		s.t.Error(err)
	}
	if job := s.wait(id, 30*time.Second); job.Status != jobs.Cancelled || job.Error != nil {
		s.t.Errorf("the job is %s, want cancelled: %+v", job.Status, job.Error)
	}
}

// vitals are some figures of /metrics.
type vitals struct {
	at                time.Time
	rss, heap, cache  float64 // MiB; cache: keys and values, which have a bound of their own
	goroutines, files float64
	running, waiting  float64 // requests in the engines
	held, remembered  float64 // pages
}

func (v vitals) String() string {
	return fmt.Sprintf("RSS %.0f MiB, heap %.0f MiB, keys and values %.0f MiB, %.0f goroutines, %.0f files, %.0f running, %.0f waiting, pages %.0f held and %.0f remembered",
		v.rss, v.heap, v.cache, v.goroutines, v.files, v.running, v.waiting, v.held, v.remembered)
}

// vitals scrapes /metrics by a connection of its own.
func (s *service) vitals() vitals {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodGet, s.Base+"/metrics", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.Client.Key)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	v := vitals{at: time.Now()}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		x, err := strconv.ParseFloat(value, 64)
		if err != nil {
			continue
		}
		family, _, _ := strings.Cut(name, "{")
		switch family {
		case "process_resident_memory_bytes":
			v.rss = x / (1 << 20)
		case "go_memstats_heap_alloc_bytes":
			v.heap = x / (1 << 20)
		case "afina_engine_cache_bytes":
			v.cache += x / (1 << 20)
		case "go_goroutines":
			v.goroutines = x
		case "process_open_fds":
			v.files = x
		case "afina_engine_running":
			v.running += x
		case "afina_engine_waiting":
			v.waiting += x
		case "afina_engine_pages":
			if strings.Contains(name, `kind="held"`) {
				v.held += x
			} else {
				v.remembered += x
			}
		}
	}
	if v.rss == 0 || v.goroutines == 0 || v.files == 0 {
		s.t.Fatalf("/metrics (%s) lacks figures: %v", resp.Status, v)
	}
	return v
}

// calm waits until as many goroutines run for six seconds: some of the job queue's
// own begin only when it has won the election of its leader, some seconds after
// the start.
func (s *service) calm() vitals {
	s.t.Helper()
	v := s.vitals()
	for since := v.at; v.at.Sub(since) < 6*time.Second; {
		time.Sleep(300 * time.Millisecond)
		now := s.vitals()
		if math.Abs(now.goroutines-v.goroutines) > 4 {
			since = now.at
		} else {
			now.goroutines = max(now.goroutines, v.goroutines)
		}
		v = now
	}
	return v
}

// record takes the vitals every two seconds until ctx ends, and hands them over.
func (s *service) record(ctx context.Context) <-chan []vitals {
	out := make(chan []vitals, 1)
	go func() {
		var all []vitals
		for ctx.Err() == nil {
			all = append(all, s.vitals())
			pause(ctx, 2*time.Second)
		}
		out <- all
	}()
	return out
}

// settled waits until nothing is left of the crowd: no request in the engines,
// their pages free, and goroutines and files as they were.
func (s *service) settled(before vitals) vitals {
	s.t.Helper()
	const few = 4 // connections to the database come and go
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		v := s.vitals()
		if v.running == 0 && v.waiting == 0 && v.held == 0 && v.goroutines <= before.goroutines+few && v.files <= before.files+few {
			return v
		}
		if time.Now().After(deadline) {
			s.t.Errorf("40 s after all have left: %v\nbefore: %v", v, before)
			return v
		}
	}
}

// flat checks that memory does not grow after the first minute.
func flat(t *testing.T, all []vitals) {
	t.Helper()
	minute := all[0].at.Add(time.Minute)
	first := slices.IndexFunc(all, func(v vitals) bool { return v.at.After(minute) })
	if first < 0 || len(all)-first < 30 {
		t.Errorf("%d samples are too few to tell whether memory is flat; let it run for longer", len(all))
		return
	}
	rest := all[first:]
	rss, rssErr := slope(rest, func(v vitals) float64 { return v.rss })
	own, ownErr := slope(rest, func(v vitals) float64 { return v.rss - v.cache })
	heap, heapErr := slope(rest, func(v vitals) float64 { return v.heap })
	running, most := 0.0, 0.0
	for _, v := range rest {
		running += v.running / float64(len(rest))
		most = max(most, v.goroutines)
	}
	t.Logf("after the first minute: RSS %.0f MiB, at the end %.0f MiB, slope %+.2f ± %.2f MiB/min, without keys and values %+.2f ± %.2f MiB/min; heap slope %+.2f ± %.2f MiB/min; %.1f answers at once, at most %.0f goroutines",
		rest[0].rss, rest[len(rest)-1].rss, rss, rssErr, own, ownErr, heap, heapErr, running, most)
	if most := float64(soakCache>>20) * 1.1; rest[len(rest)-1].cache > most {
		t.Errorf("keys and values take %.0f MiB, want at most %.0f", rest[len(rest)-1].cache, most)
	}
	if own > soakSlope {
		t.Errorf("memory grows by %.2f MiB a minute beside keys and values, want at most %g", own, soakSlope)
	}
}

// slope is what y grows by in a minute, by least squares, and its standard error.
func slope(all []vitals, y func(vitals) float64) (b, standard float64) {
	n := float64(len(all))
	var mx, my, xx, xy float64
	x := func(v vitals) float64 { return v.at.Sub(all[0].at).Minutes() }
	for _, v := range all {
		mx, my = mx+x(v)/n, my+y(v)/n
	}
	for _, v := range all {
		xx, xy = xx+(x(v)-mx)*(x(v)-mx), xy+(x(v)-mx)*(y(v)-my)
	}
	b = xy / xx
	rest := 0.0
	for _, v := range all {
		r := y(v) - my - b*(x(v)-mx)
		rest += r * r
	}
	return b, math.Sqrt(rest / (n - 2) / xx)
}
