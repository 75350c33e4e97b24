package tuning

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"afina/internal/catalog"
	"afina/internal/door"
	"afina/internal/finetune"
	"afina/internal/jobs"
)

// organization owns all that is here; it is also in the names of models.
const organization = "afina"

// jobObject is a job on the wire.
type jobObject struct {
	ID              string         `json:"id"`
	Object          string         `json:"object"` // "fine_tuning.job"
	Created         int64          `json:"created_at"`
	Finished        *int64         `json:"finished_at"`
	EstimatedFinish *int64         `json:"estimated_finish"`
	Model           string         `json:"model"`
	FineTuned       *string        `json:"fine_tuned_model"` // once it has succeeded
	Organization    string         `json:"organization_id"`
	Status          string         `json:"status"` // ours; "paused" is no word of OpenAI's, but its clients take any
	TrainingFile    string         `json:"training_file"`
	ValidationFile  *string        `json:"validation_file"`
	ResultFiles     []string       `json:"result_files"`
	TrainedTokens   *int           `json:"trained_tokens"`
	Hyperparameters openSettings   `json:"hyperparameters"`
	Method          methodObject   `json:"method"`
	Seed            int64          `json:"seed"`
	Error           *failureObject `json:"error"`
	Integrations    *[]string      `json:"integrations"` // null
	Metadata        jobs.Metadata  `json:"metadata"`
}

// openSettings are OpenAI's hyperparameters, as numbers also where "auto" was
// asked for.
type openSettings struct {
	Epochs int     `json:"n_epochs"`
	Batch  int     `json:"batch_size"`
	Rate   float64 `json:"learning_rate_multiplier"`
}

type methodObject struct {
	Type       string           `json:"type"` // "supervised"
	Supervised supervisedObject `json:"supervised"`
}

type supervisedObject struct {
	Hyperparameters allSettings `json:"hyperparameters"`
}

// allSettings are OpenAI's and those of ours that matter most.
type allSettings struct {
	openSettings
	LearningRate float64       `json:"learning_rate"`
	LoRA         finetune.LoRA `json:"lora"`
}

type failureObject struct {
	Code    string  `json:"code"`
	Message string  `json:"message"`
	Param   *string `json:"param"`
}

func unix(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	n := t.Unix()
	return &n
}

func (s *Server) asJob(j jobs.Job) jobObject {
	o := jobObject{
		ID: swap(j.ID, ourJob, jobPrefix), Object: "fine_tuning.job", Created: j.Created.Unix(), Finished: unix(j.Finished),
		Model: j.Spec.Model, Organization: organization, Status: string(j.Status), ResultFiles: []string{},
		TrainingFile: swap(j.Spec.Dataset, ourDataset, filePrefix), Seed: j.Spec.Seed, Metadata: j.Metadata,
	}
	if j.Spec.Validation != "" {
		file := swap(j.Spec.Validation, ourDataset, filePrefix)
		o.ValidationFile = &file
	}
	o.Hyperparameters = openSettings{j.Spec.Epochs, j.Spec.BatchSize, j.Spec.LearningRate / s.Config.Train.LearningRate}
	o.Method = methodObject{"supervised", supervisedObject{allSettings{o.Hyperparameters, j.Spec.LearningRate, j.Spec.LoRA}}}
	switch {
	case j.Status == jobs.Succeeded && j.Result != nil:
		name := catalog.FineTuned(j.Spec.Model, j.Result.Adapter, j.ID)
		o.FineTuned, o.TrainedTokens = &name, &j.Result.TrainedTokens
		o.ResultFiles = append(o.ResultFiles, swap(j.ID, ourJob, resultPrefix))
	case j.Status == jobs.Running && j.Progress.ETASeconds > 0:
		at := s.Now().Add(time.Duration(j.Progress.ETASeconds * float64(time.Second)))
		o.EstimatedFinish = unix(&at)
	}
	if f := j.Error; f != nil {
		o.Error = &failureObject{Code: f.Code, Message: f.Message}
		if f.Code == "invalid_training_file" {
			param := "training_file"
			o.Error.Param = &param
		}
	}
	return o
}

func (s *Server) listJobs(r *http.Request) (int, any, error) {
	q := door.Ask(r, "after", "limit", "metadata[*]")
	after, limit := page(q, 20, 100)
	if q.Err != nil {
		return 0, nil, q.Err
	}
	all, more, err := s.Jobs.ListLike(r.Context(), jobOf(after), limit, q.Group("metadata"))
	return http.StatusOK, of(all, more, s.asJob, func(j jobObject) string { return j.ID }), err
}

func (s *Server) findJob(r *http.Request) (int, any, error) {
	j, err := s.Jobs.Find(r.Context(), jobOf(door.Param(r, "id")))
	return http.StatusOK, s.asJob(j), err
}

// steer does something to a job that needs no words.
func (s *Server) steer(do func(context.Context, string) (jobs.Job, error)) func(*http.Request) (int, any, error) {
	return func(r *http.Request) (int, any, error) {
		if err := s.Door.NoBody(r); err != nil {
			return 0, nil, err
		}
		j, err := do(r.Context(), jobOf(door.Param(r, "id")))
		return http.StatusOK, s.asJob(j), err
	}
}

// eventObject is something that happened to a job.
type eventObject struct {
	ID      string         `json:"id"`
	Object  string         `json:"object"` // "fine_tuning.job.event"
	Created int64          `json:"created_at"`
	Level   string         `json:"level"`
	Message string         `json:"message"`
	Type    string         `json:"type"` // "message" or "metrics"
	Data    *metricsObject `json:"data"`
}

// metricsObject are the numbers of a step: losses in nats per token, accuracies
// as shares of the tokens. What is held out is measured whole, so its numbers
// stand under both of their names.
type metricsObject struct {
	Step          int      `json:"step"`
	Steps         int      `json:"total_steps,omitempty"`
	TrainLoss     float64  `json:"train_loss"`
	TrainAccuracy *float64 `json:"train_mean_token_accuracy,omitempty"`
	ValidLoss     *float64 `json:"valid_loss,omitempty"`
	ValidAccuracy *float64 `json:"valid_mean_token_accuracy,omitempty"`
	FullLoss      *float64 `json:"full_valid_loss,omitempty"`
	FullAccuracy  *float64 `json:"full_valid_mean_token_accuracy,omitempty"`
}

func numbers(step, steps int, trainLoss float64, trainAccuracy, validLoss, validAccuracy *float64) metricsObject {
	return metricsObject{step, steps, trainLoss, trainAccuracy, validLoss, validAccuracy, validLoss, validAccuracy}
}

func asEvent(h jobs.Happening) eventObject {
	e := eventObject{ID: eventPrefix + h.ID, Object: "fine_tuning.job.event", Created: h.Created.Unix(), Level: h.Level, Message: h.Message, Type: "message"}
	if p := h.Point; p != nil {
		data := numbers(p.Step, p.Steps, p.TrainLoss, p.TrainAccuracy, p.EvalLoss, p.EvalAccuracy)
		e.Type, e.Data = "metrics", &data
	}
	return e
}

func (s *Server) listEvents(r *http.Request) (int, any, error) {
	q := door.Ask(r, "after", "limit")
	after, limit := page(q, 20, 100)
	if q.Err != nil {
		return 0, nil, q.Err
	}
	all, more, err := s.Jobs.Happenings(r.Context(), jobOf(door.Param(r, "id")), strings.TrimPrefix(after, eventPrefix), limit)
	return http.StatusOK, of(all, more, asEvent, func(e eventObject) string { return e.ID }), err
}

// checkpointObject is what is kept of a job after a step. It can be asked for.
type checkpointObject struct {
	ID      string        `json:"id"`
	Object  string        `json:"object"` // "fine_tuning.job.checkpoint"
	Created int64         `json:"created_at"`
	Model   string        `json:"fine_tuned_model_checkpoint"`
	Job     string        `json:"fine_tuning_job_id"`
	Step    int           `json:"step_number"`
	Metrics metricsObject `json:"metrics"`
}

func (s *Server) listCheckpoints(r *http.Request) (int, any, error) {
	q := door.Ask(r, "after", "limit")
	after, limit := page(q, 10, 100)
	if q.Err != nil {
		return 0, nil, q.Err
	}
	j, err := s.Jobs.Find(r.Context(), jobOf(door.Param(r, "id")))
	if err != nil {
		return 0, nil, err
	}
	kept, err := s.Catalog.Steps(j.ID)
	if err != nil {
		return 0, nil, err
	}
	id := func(step catalog.Step) string {
		return fmt.Sprintf("%s%s_%d", stepPrefix, strings.TrimPrefix(j.ID, ourJob), step.Number)
	}
	if after != "" {
		i := slices.IndexFunc(kept, func(c catalog.Step) bool { return id(c) == after })
		if i < 0 {
			return 0, nil, wrong("after", "after names %.100q, which is not in the list; leave it out to begin with the newest", after)
		}
		kept = kept[i+1:]
	}
	more := len(kept) > limit
	dress := func(c catalog.Step) checkpointObject {
		return checkpointObject{id(c), "fine_tuning.job.checkpoint", c.Created.Unix(), c.Model, swap(j.ID, ourJob, jobPrefix),
			c.Number, numbers(c.Number, 0, c.TrainLoss, c.TrainAccuracy, &c.EvalLoss, c.EvalAccuracy)}
	}
	return http.StatusOK, of(kept[:min(len(kept), limit)], more, dress, func(c checkpointObject) string { return c.ID }), nil
}
