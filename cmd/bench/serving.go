package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"afina/internal/catalog"
	"afina/internal/fault"
	"afina/internal/gguf"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/parallel"
	"afina/internal/quant"
	"afina/internal/tokenizer"
)

// What people ask and get, in tokens.
const questionTokens, answerTokens = 177, 64

// crowdSize is how many people ask where adapters are compared, and how many
// adapters there are at most.
const crowdSize = 16

// people is a row of so many clients that each ask some questions one after
// another.
func people(clients, each int) row {
	name := fmt.Sprint("serve-", clients)
	r := row{results: []result{{name, tokensPerSecond, false, rate}}}
	if clients == crowdSize {
		r.results = append(r.results, result{name + "-ttft-p95", "s", true, figure("ttft_p95")})
	}
	r.sides = func(ctx context.Context, b *bench) (pair, error) {
		s, err := b.serving(ctx)
		if err != nil {
			return pair{}, err
		}
		one := func(s []sample) sample { return s[0] }
		p := pair{ours: s.ours([]*crowd{s.crowd(clients, each, s.askOurs(0))}, one)}
		return p.without(s.llama(ctx, &p, clients, func(argv []string, _ bool) *hosted {
			return &hosted{service: service{argv: argv}, crowds: []*crowd{s.crowd(clients, each, askLlama(0))}, merge: one}
		}, nil))
	}
	return r
}

// manyAdapters is a row of sixteen clients who all use one adapter, or four, or
// one each.
func manyAdapters() row {
	counts := []int{1, 4, crowdSize}
	var r row
	for _, n := range counts {
		name := fmt.Sprint("serve-adapters-", n)
		r.results = append(r.results, result{name, tokensPerSecond, false, figure(name)})
	}
	for _, n := range counts[1:] {
		name := fmt.Sprintf("serve-adapters-%d-share", n)
		r.results = append(r.results, result{name, "share of its speed with one", false, figure(name)})
	}
	merge := func(all []sample) sample {
		s := sample{Figures: map[string]float64{}}
		for i, n := range counts {
			s.Seconds, s.Tokens = s.Seconds+all[i].Seconds, s.Tokens+all[i].Tokens
			name := fmt.Sprint("serve-adapters-", n)
			s.Figures[name], s.Figures[name+"-share"] = rate(all[i]), rate(all[i])/rate(all[0])
		}
		return s
	}
	r.sides = func(ctx context.Context, b *bench) (pair, error) {
		s, err := b.serving(ctx)
		if err != nil {
			return pair{}, err
		}
		if err := s.makeAdapters(); err != nil {
			return pair{}, err
		}
		crowds := func(ask func(adapters int) func(int, map[string]any)) (all []*crowd) {
			for _, n := range counts {
				all = append(all, s.crowd(crowdSize, 1, ask(n)))
			}
			return all
		}
		p := pair{ours: s.ours(crowds(s.askOurs), merge)}
		return p.without(s.llama(ctx, &p, crowdSize, func(argv []string, trial bool) *hosted {
			if trial { // short answers with four adapters: all of it takes minutes
				c := s.crowd(crowdSize, 1, askLlama(4))
				c.limit /= 4
				return &hosted{service: service{argv: argv}, crowds: []*crowd{c}, merge: func(s []sample) sample { return s[0] }}
			}
			return &hosted{service: service{argv: argv}, crowds: crowds(askLlama), merge: merge}
		}, s.llamaFiles))
	}
	return r
}

// serving is what the rows of crowds share.
type serving struct {
	*bench
	path   string // of the model
	data   string // folder of our service
	texts  *texts
	noEnds map[string]float64 // a bias that keeps answers from ending early
}

func (b *bench) serving(context.Context) (*serving, error) {
	path, err := b.file("q4_0")
	if err != nil {
		return nil, err
	}
	s := &serving{bench: b, path: path, data: filepath.Join(b.scratch, "serving"), noEnds: map[string]float64{}}
	if s.texts, err = newTexts(path, questionTokens); err != nil {
		return nil, err
	}
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	tok, err := tokenizer.FromGGUF(f.Metadata)
	if err != nil {
		return nil, err
	}
	for _, id := range tok.Ends {
		s.noEnds[fmt.Sprint(id)] = -100
	}
	return s, nil
}

func (s *serving) crowd(clients, each int, ask func(int, map[string]any)) *crowd {
	return &crowd{clients: clients, each: each, limit: answerTokens, texts: s.texts, ask: ask}
}

// ours is the service as it comes, but that it guesses nothing ahead.
func (s *serving) ours(crowds []*crowd, merge func([]sample) sample) *hosted {
	argv := []string{s.afina, "serve", "--listen", "127.0.0.1:{port}", "--threads", fmt.Sprint(s.threads),
		"--models", filepath.Dir(s.path), "--data", s.data}
	return &hosted{crowds: crowds, merge: merge,
		service: service{argv: argv, env: []string{"AFINA_SERVE__LOOKUP=0"}, model: s.name()}}
}

func (s *serving) name() string { return strings.TrimSuffix(filepath.Base(s.path), ".gguf") }

// askOurs asks our service: the base, or so many adapters in turn.
func (s *serving) askOurs(adapters int) func(int, map[string]any) {
	return func(client int, body map[string]any) {
		body["model"], body["logit_bias"] = s.name(), s.noEnds
		if adapters > 0 {
			body["model"] = adapterName(client % adapters)
		}
	}
}

func adapterName(i int) string { return fmt.Sprintf("bench-%02d", i) }

// askLlama asks llama-server the same. No prompt begins like another, so it need
// not look for one that does.
func askLlama(adapters int) func(int, map[string]any) {
	return func(client int, body map[string]any) {
		body["ignore_eos"], body["cache_prompt"] = true, false
		if adapters > 0 {
			body["lora"] = []map[string]any{{"id": client % adapters, "scale": 1}}
		}
	}
}

// makeAdapters publishes random adapters of rank 16 on all projections for our
// service, unless they are there.
func (s *serving) makeAdapters() error {
	pool := parallel.New(s.threads)
	defer pool.Close()
	gang, err := kernel.NewGang(pool, "")
	if err != nil {
		return err
	}
	shelf, err := catalog.New(catalog.Options{Models: filepath.Dir(s.path), Data: s.data}, nil, gang)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(s.data, "adapters"), 0o755); err != nil {
		return err
	}
	for i := range crowdSize {
		_, a, err := shelf.Resolve(adapterName(i))
		if err == nil && a != nil {
			continue
		}
		if fault.KindOf(err) != fault.NotFound {
			return fmt.Errorf("adapter %s: %w", adapterName(i), err)
		}
		m, err := shelf.Model(s.name())
		if err != nil {
			return err
		}
		if a, err = randomAdapter(m, uint64(i)); err != nil {
			return err
		}
		a.Name = adapterName(i)
		if _, err := shelf.Publish(a, m, ""); err != nil {
			return err
		}
	}
	return nil
}

// randomAdapter is an adapter that changes every projection a little.
func randomAdapter(m *model.Model, seed uint64) (*lora.Adapter, error) {
	a, err := lora.New(m, 16, 32, nil, seed)
	if err != nil {
		return nil, err
	}
	r := random(seed)
	for _, pairs := range a.Pairs {
		for _, slot := range a.Slots {
			b := pairs[slot].B
			for i := range b {
				b[i] = 0.02 * (float32(r.next()>>40)/(1<<23) - 1)
			}
		}
	}
	return a, nil
}

// llamaFiles are the adapters as llama.cpp reads them, with numbers of a type.
func (s *serving) llamaFiles(typ quant.Type) ([]string, error) {
	var paths []string
	for i := range crowdSize {
		from := filepath.Join(s.data, "adapters", adapterName(i), "adapter.gguf")
		to := filepath.Join(s.scratch, "models", "adapters", adapterName(i)+"-"+strings.ToLower(typ.String())+".gguf")
		if err := retype(from, to, typ); err != nil {
			return nil, err
		}
		paths = append(paths, to)
	}
	return []string{"--lora", strings.Join(paths, ","), "--lora-init-without-apply"}, nil
}

// retype writes the adapter at from with numbers of a type, unless to is newer.
func retype(from, to string, typ quant.Type) error {
	old, err := os.Stat(from)
	if err != nil {
		return err
	}
	if made, err := os.Stat(to); err == nil && made.ModTime().After(old.ModTime()) {
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := gguf.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	var tensors []gguf.Named
	for _, name := range f.Names {
		m, _ := f.Tensor(name)
		if m, err = convert(m, typ); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		tensors = append(tensors, gguf.Named{Name: name, Matrix: m})
	}
	meta, err := pairs(f.Metadata)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return gguf.Write(to, meta, tensors)
}

// llama sets p's peer to llama-server in the fastest of its settings. files are
// the flags of adapters, nil for none; side makes what is measured, and what is
// tried to find the setting.
func (s *serving) llama(ctx context.Context, p *pair, clients int, side func(argv []string, trial bool) *hosted, files func(quant.Type) ([]string, error)) error {
	l, err := s.llamaCPP(ctx)
	if err != nil {
		return err
	}
	argv := []string{filepath.Join(l.bin, "llama-server"), "-m", s.path, "-t", fmt.Sprint(s.threads), "--host", "127.0.0.1", "--port", "{port}",
		"-np", fmt.Sprint(clients), "-c", fmt.Sprint(512 * clients), "--log-disable"}
	settings := []setting{
		{"flash attention, a cache for each", []string{"-fa", "on", "--no-kv-unified", "--cache-ram", "0"}},
		{"flash attention, one cache", []string{"-fa", "on", "--kv-unified"}},
		{"no flash attention, a cache for each", []string{"-fa", "off", "--no-kv-unified", "--cache-ram", "0"}},
		{"flash attention, a cache for each, backend sampling", []string{"-fa", "on", "--no-kv-unified", "--cache-ram", "0", "--backend-sampling"}},
	}
	if files != nil {
		if settings, err = withAdapters([]setting{settings[0], settings[2]}, files); err != nil {
			return err
		}
	}
	var candidates []sided
	for _, c := range settings {
		candidates = append(candidates, sided{c.name, side(append(argv[:len(argv):len(argv)], c.flags...), true)})
	}
	i, err := s.fastest(ctx, l.name+" "+candidates[0].side.line(), candidates, rate)
	p.peer = side(append(argv, settings[i].flags...), false)
	p.peerName = l.name + " llama-server, " + candidates[i].name
	return err
}

// setting is one way to start a peer.
type setting struct {
	name  string
	flags []string
}

// withAdapters is each setting with adapters in each type that peers write.
func withAdapters(settings []setting, files func(quant.Type) ([]string, error)) (all []setting, err error) {
	for _, typ := range []quant.Type{quant.F32, quant.F16} {
		flags, err := files(typ)
		if err != nil {
			return nil, err
		}
		for _, s := range settings {
			all = append(all, setting{s.name + ", adapters in " + typ.String(), append(s.flags[:len(s.flags):len(s.flags)], flags...)})
		}
	}
	return all, nil
}
