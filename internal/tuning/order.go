package tuning

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"afina/internal/fault"
	"afina/internal/finetune"
	"afina/internal/form"
	"afina/internal/jobs"
)

// createRequest is the body of POST /v1/fine_tuning/jobs. Fields it does not know
// are left alone: clients send what only OpenAI has a use for.
type createRequest struct {
	Model           string             `json:"model" validate:"required,max=200"`
	TrainingFile    string             `json:"training_file" validate:"required,max=200"`
	ValidationFile  *string            `json:"validation_file" validate:"omitempty,max=200"`
	Suffix          *string            `json:"suffix" validate:"omitempty,min=1,max=64"`
	Seed            *int64             `json:"seed" validate:"omitempty,gte=0,lte=2147483647"`
	Method          *method            `json:"method"`
	Hyperparameters *hyperparameters   `json:"hyperparameters"` // the old place
	Integrations    json.RawMessage    `json:"integrations"`
	Metadata        *map[string]string `json:"metadata"`

	Rest map[string]json.RawMessage `json:"*"`
}

type method struct {
	Type       string                     `json:"type"`
	Supervised *supervised                `json:"supervised"`
	Rest       map[string]json.RawMessage `json:"*"`
}

type supervised struct {
	Hyperparameters *hyperparameters           `json:"hyperparameters"`
	Rest            map[string]json.RawMessage `json:"*"`
}

// hyperparameters are OpenAI's three, each a number or "auto", and in Rest ours,
// by the names of POST /jobs.
type hyperparameters struct {
	Epochs json.RawMessage            `json:"n_epochs"`
	Batch  json.RawMessage            `json:"batch_size"`
	Rate   json.RawMessage            `json:"learning_rate_multiplier"`
	Rest   map[string]json.RawMessage `json:"*"`
}

func (s *Server) createJob(r *http.Request) (int, any, error) {
	var ask createRequest
	text, err := s.Door.Decode(r, &ask)
	if err != nil {
		return 0, nil, err
	}
	order, err := s.order(&ask)
	if err != nil {
		return 0, nil, err
	}
	order.Key = r.Header.Get("Idempotency-Key")
	var job jobs.Job
	create := func() (string, error) {
		job, err = s.Jobs.Place(r.Context(), order)
		return job.ID, ask.blame(err)
	}
	if order.Key != "" {
		_, err = create()
		return http.StatusOK, s.asJob(job), err
	}
	id, again, err := s.retries.Once(r, text, s.Now(), create)
	if again {
		job, err = s.Jobs.Find(r.Context(), id)
	}
	return http.StatusOK, s.asJob(job), err
}

// blame makes a file that is not there the fault of the field that names it.
func (q *createRequest) blame(err error) error {
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != "dataset_not_found" {
		return err
	}
	if q.ValidationFile != nil && strings.Contains(f.Message, strings.TrimPrefix(fileOf(*q.ValidationFile), ourDataset)) {
		return noFile(*q.ValidationFile, "validation_file")
	}
	return noFile(q.TrainingFile, "training_file")
}

// order is the request as the queue takes it, with the defaults of the
// configuration.
func (s *Server) order(q *createRequest) (o jobs.Order, err error) {
	o.Patient, o.Suffix = true, new(string)
	o.Spec = s.Config.Train
	o.Spec.Model = q.Model
	if o.Spec.Dataset, err = fileParam(q.TrainingFile, "training_file"); err != nil {
		return o, err
	}
	if q.ValidationFile != nil {
		if o.Spec.Validation, err = fileParam(*q.ValidationFile, "validation_file"); err != nil {
			return o, err
		}
	}
	if q.Suffix != nil {
		o.Suffix = q.Suffix
	}
	if q.Seed != nil {
		o.Spec.Seed = *q.Seed
	}
	if err := q.unsupported(); err != nil {
		return o, err
	}
	if o.Metadata, err = metadata(q.Metadata); err != nil {
		return o, err
	}
	set, at := q.settings()
	if set == nil {
		return o, nil
	}
	return o, s.apply(set, at, &o.Spec)
}

// unsupported refuses what would be done otherwise than asked.
func (q *createRequest) unsupported() error {
	if q.Method != nil && q.Method.Type != "supervised" && q.Method.Type != "" {
		return fault.New(fault.Invalid, "method.type %.40q is not supported; models learn here from examples: set it to supervised", q.Method.Type).
			WithCode("unsupported_value").WithParam("method.type")
	}
	if given := string(bytes.TrimSpace(q.Integrations)); given != "" && given != "null" && given != "[]" {
		return fault.New(fault.Invalid, "integrations are not supported: the server speaks to nobody; read the curve at /jobs/{id}/metrics").
			WithCode("unsupported_parameter").WithParam("integrations")
	}
	return nil
}

// settings are the hyperparameters given, and their path.
func (q *createRequest) settings() (*hyperparameters, string) {
	if m := q.Method; m != nil && m.Supervised != nil && m.Supervised.Hyperparameters != nil {
		return m.Supervised.Hyperparameters, "method.supervised.hyperparameters"
	}
	return q.Hyperparameters, "hyperparameters"
}

// The bounds of metadata.
const (
	metadataPairs = 16
	metadataKey   = 64
	metadataValue = 512
)

func metadata(given *map[string]string) (jobs.Metadata, error) {
	if given == nil {
		return nil, nil
	}
	if n := len(*given); n > metadataPairs {
		return nil, wrong("metadata", "metadata has %d pairs: it must have at most %d", n, metadataPairs)
	}
	for k, v := range *given {
		if utf8.RuneCountInString(k) > metadataKey || utf8.RuneCountInString(v) > metadataValue {
			return nil, wrong("metadata", "the key %.64q or its value is too long: at most %d and %d characters", k, metadataKey, metadataValue)
		}
	}
	return *given, nil
}

// apply puts the hyperparameters into a spec.
func (s *Server) apply(h *hyperparameters, at string, spec *finetune.Spec) error {
	epochs, err := number(h.Epochs, at+".n_epochs", 1, 50, true)
	if err != nil {
		return err
	}
	batch, err := number(h.Batch, at+".batch_size", 1, 256, true)
	if err != nil {
		return err
	}
	times, err := number(h.Rate, at+".learning_rate_multiplier", 0, 1e6, false)
	if err != nil {
		return err
	}
	if epochs != nil {
		spec.Epochs = int(*epochs)
	}
	if batch != nil {
		spec.BatchSize = int(*batch)
	}
	if times != nil {
		spec.LearningRate *= *times
	}
	if err := ours(h.Rest, at, spec); err != nil {
		return err
	}
	return s.Door.Check(spec, at)
}

// number reads a number or "auto", which is nil: the configuration's.
func number(raw json.RawMessage, at string, least, most float64, whole bool) (*float64, error) {
	text := string(bytes.TrimSpace(raw))
	if text == "" || text == "null" || text == `"auto"` {
		return nil, nil
	}
	x, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil:
		return nil, fault.New(fault.Invalid, `%s must be a number or "auto"`, at).WithCode(form.CodeType).WithParam(at)
	case whole && (x != float64(int64(x)) || x < least || x > most):
		return nil, wrong(at, "%s is %s: it must be a whole number from %g to %g", at, text, least, most)
	case x <= 0 || x > most:
		return nil, wrong(at, "%s is %s: it must be above 0 and at most %g", at, text, most)
	}
	return &x, nil
}

// notHere are fields of a spec that this API has its own names for.
var notHere = []string{"model", "dataset", "validation_dataset", "name", "epochs", "batch_size", "seed"}

// ours decodes our own settings over spec: those of POST /jobs by their names,
// and those of lora also without "lora" around them.
func ours(rest map[string]json.RawMessage, at string, spec *finetune.Spec) error {
	settings, shape := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	for name, value := range rest {
		switch {
		case slices.Contains(fields(spec.LoRA), name):
			shape[name] = value
		case slices.Contains(fields(*spec), name) && !slices.Contains(notHere, name):
			settings[name] = value
		}
	}
	for _, part := range []struct {
		given map[string]json.RawMessage
		into  any
	}{{settings, spec}, {shape, &spec.LoRA}} {
		text, err := json.Marshal(part.given)
		if err != nil {
			return fmt.Errorf("read hyperparameters: %w", err)
		}
		if err := form.Decode(text, at, part.into); err != nil {
			return err
		}
	}
	return nil
}

// fields are the JSON names of a struct's fields.
func fields(v any) (names []string) {
	for f := range reflect.TypeOf(v).Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}
