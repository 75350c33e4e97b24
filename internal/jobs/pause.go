package jobs

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"afina/internal/fault"
	"afina/internal/store"
)

// Pause takes a job out of the workers' hands until it is resumed: a running one
// stops within one step and keeps a checkpoint. It outlives the process. A job
// that is over, or paused already, is fault.Conflict.
func (q *Queue) Pause(ctx context.Context, id string) (Job, error) {
	j, err := asJob(q.store.ChangeJob(ctx, id, func(row *store.Job) error {
		switch state := State(row.State); {
		case state.Over():
			return fault.New(fault.Conflict, "%s is %s already", id, state).WithCode("already_finished")
		case row.Paused:
			return fault.New(fault.Conflict, "%s is paused already", id).WithCode("already_paused")
		case state == Queued:
			row.News = "The job was paused"
		}
		row.Paused = true
		return nil
	}))
	if err != nil {
		return Job{}, err
	}
	if j.Status == Paused {
		q.tell(Event{Job: j})
		return j, nil
	}
	q.mu.Lock()
	r := q.runs[id]
	q.mu.Unlock()
	if r != nil { // else it has just left its worker, and is not taken again
		r.cancel(errPaused)
	}
	return q.fresh(j), nil
}

// Resume puts a paused job back where it was in the queue. One that is not
// paused is fault.Conflict.
func (q *Queue) Resume(ctx context.Context, id string) (Job, error) {
	j, err := asJob(q.store.ChangeJob(ctx, id, func(row *store.Job) error {
		if !row.Paused || State(row.State).Over() {
			return fault.New(fault.Conflict, "%s is %s, not paused", id, row.State).WithCode("not_paused")
		}
		row.Paused, row.News = false, "The job was resumed"
		return nil
	}))
	if err != nil {
		return Job{}, err
	}
	// Tickets may be more than jobs, never fewer. When this one is lost with the
	// process, the next start makes it anew.
	if err := q.store.Tx(ctx, func(tx *sql.Tx) error { return q.ticket(ctx, tx) }); err != nil {
		return Job{}, err
	}
	q.tell(Event{Job: j})
	return j, nil
}

// Happening is something that happened to a job: a change of its state, in words,
// or a step, in numbers.
type Happening struct {
	ID      string // a number, in rising order
	Created time.Time
	Level   string // "info", "warn" or "error"
	Message string
	Point   *Progress // nil unless it is a step
}

// Happenings lists what happened to a job, newest first, after the given id.
func (q *Queue) Happenings(ctx context.Context, id, after string, limit int) (page []Happening, more bool, err error) {
	rows, more, err := q.store.Events(ctx, id, after, limit)
	if err != nil {
		return nil, false, err
	}
	page = make([]Happening, len(rows))
	for i, row := range rows {
		h := Happening{ID: strconv.FormatInt(row.Seq, 10), Created: row.Created, Level: row.Level, Message: row.Message}
		if row.Step != nil {
			h.Point = &Progress{}
			if err := json.Unmarshal(row.Data, h.Point); err != nil {
				return nil, false, fmt.Errorf("read the events of %s: %w", id, err)
			}
			h.Message = fmt.Sprintf("Step %d/%d: training loss=%.4f", h.Point.Step, h.Point.Steps, h.Point.TrainLoss)
			if h.Point.EvalLoss != nil {
				h.Message += fmt.Sprintf(", full validation loss=%.4f", *h.Point.EvalLoss)
			}
		}
		page[i] = h
	}
	return page, more, nil
}

// report is the curve of a job as CSV, with the columns of OpenAI's file of
// results. What was not measured at a step is empty.
func (q *Queue) report(ctx context.Context, id string) (string, error) {
	points, err := q.store.Points(ctx, id)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n")
	number := func(x *float64) string {
		if x == nil {
			return ""
		}
		return strconv.FormatFloat(*x, 'g', -1, 64)
	}
	for _, p := range points {
		var at Progress
		if err := json.Unmarshal(p.Data, &at); err != nil {
			return "", fmt.Errorf("read the curve of %s: %w", id, err)
		}
		fmt.Fprintf(&b, "%d,%s,%s,%s,%s\n", at.Step, number(&at.TrainLoss), number(at.TrainAccuracy), number(at.EvalLoss), number(at.EvalAccuracy))
	}
	return b.String(), nil
}
