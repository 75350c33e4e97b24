package finetune

import (
	"context"
	"slices"
	"sync"
	"time"

	"afina/internal/catalog"
	"afina/internal/fault"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/train"
)

// How long a run goes on copying its adapter after somebody asked for it, and how
// long who asks waits for the end of a step.
const (
	liveWatch = 10 * time.Minute
	liveWait  = time.Minute

	// A run that was cut off may only have come to the end of its slice, and go on
	// at once: who asks in between waits so long.
	liveGap = 3 * time.Second
)

// live is what the running jobs have learnt so far, for those who ask.
type live struct {
	mu   sync.Mutex
	runs map[string]*steps // by job

	cut     map[string]time.Time // when the runs of jobs were cut off that have not gone on
	entered chan struct{}        // closed when a run is entered; nil when nobody waits
}

// steps stands between a run and its observer: at the end of a step nothing
// moves, so there its adapter is kept or copied.
type steps struct {
	tuner   *Tuner
	job     string
	adapter *lora.Adapter // in training
	model   *model.Model
	tell    func(train.Event)
	stop    context.CancelCauseFunc
	broken  error // why a step could not be kept

	// Guarded by live.mu.
	asked time.Time     // when somebody last asked
	copy  *lora.Adapter // as of the last step; nil when nobody asks
	next  chan struct{} // closed at the end of the step; nil when nobody waits
	over  bool
}

// enter makes a run known by its job until the returned function is called, which
// is told whether the run was cut off.
func (l *live) enter(s *steps) (leave func(cut bool)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.job != "" {
		if l.runs == nil {
			l.runs, l.cut = map[string]*steps{}, map[string]time.Time{}
		}
		l.runs[s.job] = s
		delete(l.cut, s.job)
		if l.entered != nil {
			close(l.entered)
			l.entered = nil
		}
	}
	return func(cut bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.runs, s.job)
		for job, at := range l.cut {
			if time.Since(at) > liveGap {
				delete(l.cut, job)
			}
		}
		if cut && s.job != "" {
			l.cut[s.job] = time.Now()
		}
		s.over = true
		s.wake()
	}
}

// back returns a channel that is closed when a run is entered, and how long it is
// worth waiting for that of a job that was cut off; not at all when that is long ago.
func (l *live) back(job string) (entered <-chan struct{}, wait time.Duration) {
	if at, ok := l.cut[job]; ok {
		wait = liveGap - time.Since(at)
	}
	if l.entered == nil {
		l.entered = make(chan struct{})
	}
	return l.entered, wait
}

// wake tells those who wait.
func (s *steps) wake() {
	if s.next != nil {
		close(s.next)
		s.next = nil
	}
}

// observe is told of each step by the loop, between steps.
func (s *steps) observe(e train.Event) {
	if s.job != "" {
		s.snap()
		if e.EvalLoss != nil && s.broken == nil {
			s.broken = s.tuner.Catalog.KeepStep(s.adapter, s.model, s.job,
				catalog.Step{Number: e.Step, TrainLoss: e.TrainLoss, EvalLoss: *e.EvalLoss, TrainAccuracy: &e.TrainAccuracy, EvalAccuracy: e.EvalAccuracy})
			if s.broken != nil {
				s.stop(s.broken)
			}
		}
	}
	if s.tell != nil {
		s.tell(e)
	}
}

// snap copies the adapter while somebody is interested.
func (s *steps) snap() {
	l := &s.tuner.live
	l.mu.Lock()
	defer l.mu.Unlock()
	s.copy = nil
	if time.Since(s.asked) < liveWatch {
		s.copy = clone(s.adapter, s.job+":live")
	}
	s.wake()
}

// clone copies an adapter: who has the copy never sees it change.
func clone(a *lora.Adapter, name string) *lora.Adapter {
	c := *a
	c.Name, c.Slots = name, slices.Clone(a.Slots)
	c.Pairs = make([]map[string]*lora.Pair, len(a.Pairs))
	for i, layer := range a.Pairs {
		c.Pairs[i] = make(map[string]*lora.Pair, len(layer))
		for slot, p := range layer {
			c.Pairs[i][slot] = &lora.Pair{In: p.In, Out: p.Out, A: slices.Clone(p.A), B: slices.Clone(p.B)}
		}
	}
	return &c
}

// Live returns the base of a running job and a copy of its adapter as of the end
// of its latest step. Who asks first waits for the end of a step.
func (t *Tuner) Live(job string) (*model.Model, *lora.Adapter, error) {
	limit := time.After(liveWait)
	l := &t.live
	for {
		l.mu.Lock()
		s := l.runs[job]
		if s == nil || s.over {
			entered, wait := l.back(job)
			l.mu.Unlock()
			if wait > 0 {
				select {
				case <-entered:
				case <-time.After(wait):
				}
				continue
			}
			return nil, nil, fault.New(fault.NotFound, "%s is not running, so there is no %s:live; ask for its model when it has succeeded", job, job).
				WithCode("model_not_found").WithParam("model")
		}
		s.asked = time.Now()
		if c := s.copy; c != nil {
			l.mu.Unlock()
			return s.model, c, nil
		}
		if s.next == nil {
			s.next = make(chan struct{})
		}
		next := s.next
		l.mu.Unlock()
		select {
		case <-next:
		case <-limit:
			return nil, nil, fault.New(fault.Busy, "%s is in the middle of a long step; try again later", job).WithCode("not_ready")
		}
	}
}
