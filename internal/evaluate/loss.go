package evaluate

import (
	"context"
	"fmt"

	"afina/internal/data"
	"afina/internal/fault"
	"afina/internal/forward"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
)

const (
	packTokens = 512 // tokens whose keys and values are kept at once
	passRows   = 128 // rows per pass: bounds the memory of their logits
	answerWork = 150 // tokens that an answer counts for in the progress
)

// run is one evaluation under way.
type run struct {
	gang *kernel.Gang
	m    *model.Model
	spec Spec

	told       func(float64)
	done, work int // in tokens
}

// plan estimates the work ahead.
func (r *run) plan(laid *data.Laid, adapter *lora.Adapter, questions int) {
	r.work = laid.Tokens
	answers := 1
	if adapter != nil {
		r.work, answers = 2*r.work, 2
	}
	if r.spec.Verify > 1 {
		answers += r.spec.Verify
	}
	r.work += answerWork * answers * questions
}

func (r *run) did(tokens int) {
	r.done += tokens
	if r.told != nil {
		r.told(min(1, float64(r.done)/float64(r.work)))
	}
}

func (r *run) finish() {
	if r.told != nil && r.done < r.work {
		r.told(1)
	}
}

// loss is the cross-entropy over the learned tokens, for each sequence.
func (r *run) loss(ctx context.Context, laid *data.Laid, adapter *lora.Adapter) ([]part, error) {
	batches := data.Pack(laid.Sequences, max(packTokens, r.spec.length(r.m)))
	slots := 1
	for _, b := range batches {
		slots = max(slots, sequences(b))
	}
	pass := forward.New(r.m, r.gang, r.spec.Precision, slots, r.spec.length(r.m))
	var all []part
	for _, b := range batches {
		parts, err := r.batch(ctx, pass, b, adapter)
		if err != nil {
			return nil, err
		}
		all = append(all, parts...)
	}
	return all, nil
}

// sequences is how many sequences b holds.
func sequences(b data.Batch) int {
	n := 0
	for t, first := range b.First {
		if int(first) == t {
			n++
		}
	}
	return n
}

// batch sums the loss of each sequence of one batch, in a slot of its own.
func (r *run) batch(ctx context.Context, pass *forward.Pass, b data.Batch, adapter *lora.Adapter) ([]part, error) {
	parts := make([]part, sequences(b))
	for i := range pass.Slots() {
		pass.Reset(i, 0)
	}
	rows, targets := lay(b, adapter)
	for len(rows) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, fault.New(fault.Canceled, "the evaluation was given up: %w", err)
		}
		n := min(passRows, len(rows))
		if err := r.pass(pass, rows[:n], targets[:n], parts); err != nil {
			return nil, fmt.Errorf("compute the loss: %w", err)
		}
		rows, targets = rows[n:], targets[n:]
		r.did(n)
	}
	return parts, nil
}

// lay turns a batch into rows and their targets (-1: none). What sequences of the
// batch share is run for each of them.
func lay(b data.Batch, adapter *lora.Adapter) ([]forward.Row, []int32) {
	rows, targets := make([]forward.Row, len(b.First)), make([]int32, len(b.First))
	slot := -1
	for place, first := range b.First {
		t := place
		if b.Shared != nil {
			t = int(b.Shared[place])
		}
		if int(first) == place {
			slot++
		}
		targets[place] = b.Targets[t]
		rows[place] = forward.Row{
			Token: b.Tokens[t], Slot: slot, Pos: place - int(first),
			Adapter: adapter, Logits: b.Targets[t] >= 0,
		}
	}
	return rows, targets
}

// pass adds the loss of rows to the parts of their slots.
func (r *run) pass(pass *forward.Pass, rows []forward.Row, targets []int32, parts []part) error {
	logits, err := pass.Run(rows)
	if err != nil {
		return err
	}
	asked := 0
	for i, row := range rows {
		if row.Logits {
			loss, _ := r.gang.CrossEntropy(logits[asked], 1, pass.Vocab(), targets[i:i+1])
			parts[row.Slot].sum += loss
			parts[row.Slot].of++
			asked++
		}
	}
	return nil
}
