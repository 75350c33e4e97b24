package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"afina/internal/contract"
	"afina/internal/fault"
	"afina/internal/finetune"
	"afina/internal/jobs"
)

func TestCreateJob(t *testing.T) {
	var got finetune.Spec
	var gotKey string
	h := newHouse()
	h.Config.Train.Epochs = 7
	h.jobs.submit = func(s finetune.Spec, key string) (jobs.Job, error) {
		got, gotKey = s, key
		j := aJob("job_1", jobs.Queued)
		j.Spec = s
		return j, nil
	}
	s := h.open(t)
	r := s.send("POST", "/jobs", `{"model":"tiny","dataset":"ds_0123456789abcdef","name":"a.B-c_1","lora":{"rank":4,"targets":["q"]},"learning_rate":1e-3}`,
		"Idempotency-Key", "k1")
	if r.status != http.StatusAccepted || r.header.Get("Location") != "/jobs/job_1" {
		t.Fatal(r.status, r.header, r.text)
	}
	want := finetune.Defaults()
	want.Model, want.Dataset, want.Name, want.Epochs, want.LearningRate = "tiny", "ds_0123456789abcdef", "a.B-c_1", 7, 1e-3
	want.LoRA.Rank, want.LoRA.Targets = 4, []string{"q"}
	if diff := cmp.Diff(want, got); diff != "" || gotKey != "k1" {
		t.Error(diff, gotKey)
	}
	var job jobs.Job
	if err := json.Unmarshal([]byte(r.text), &job); err != nil || job.ID != "job_1" || job.Status != jobs.Queued {
		t.Error(r.text, err)
	}
}

func TestCreateJobRefuses(t *testing.T) {
	s := newHouse().open(t)
	with := func(fields string) string { return `{"model":"m","dataset":"d",` + fields + `}` }
	for _, c := range []struct{ name, body, code, param, says string }{
		{"no dataset", `{"model":"m"}`, "missing_required_parameter", "dataset", "dataset is missing"},
		{"rank 0", with(`"lora":{"rank":0}`), "invalid_value", "lora.rank", "at least 1"},
		{"rank 1e6", with(`"lora":{"rank":1000000}`), "invalid_value", "lora.rank", "at most 256"},
		{"alpha NaN", with(`"lora":{"alpha":NaN}`), "invalid_json", "", "not valid JSON"},
		{"rate", with(`"learning_rate":0`), "invalid_value", "learning_rate", "greater than 0"},
		{"rate infinite", with(`"learning_rate":1e999`), "invalid_type", "learning_rate", "number"},
		{"epochs", with(`"epochs":1000000000`), "invalid_value", "epochs", "at most 1000"},
		{"batch", with(`"batch_size":0`), "invalid_value", "batch_size", "at least 1"},
		{"length", with(`"max_length":7`), "invalid_value", "max_length", "at least 8"},
		{"schedule", with(`"schedule":"step"`), "invalid_value", "schedule", "linear, cosine, constant"},
		{"name", with(`"name":"../etc"`), "invalid_value", "name", "letter or digit"},
		{"seed", with(`"seed":-1`), "invalid_value", "seed", "at least 0"},
		{"unknown", with(`"epoch":1`), "unknown_parameter", "epoch", `did you mean "epochs"`},
		{"unknown in lora", with(`"lora":{"r":1}`), "unknown_parameter", "lora.r", "unknown field"},
		{"null", with(`"epochs":null`), "invalid_type", "epochs", "not null"},
	} {
		t.Run(c.name, func(t *testing.T) {
			(&site{s.house, t, s.base, s.client}).refused(s.send("POST", "/jobs", c.body), http.StatusBadRequest, c.code, c.param, c.says)
		})
	}
}

// TestRetriedJob: a client that lost the answer gets the job of its first try.
func TestRetriedJob(t *testing.T) {
	made := 0
	now := time.Unix(1795419000, 0)
	h := newHouse()
	h.Now = func() time.Time { return now }
	h.jobs.submit = func(s finetune.Spec, key string) (jobs.Job, error) {
		made++
		return aJob(fmt.Sprint("job_", made), jobs.Queued), nil
	}
	h.jobs.find = func(id string) (jobs.Job, error) { return aJob(id, jobs.Running), nil }
	s := h.open(t)
	send := func(body, count string) string {
		t.Helper()
		headers := []string{}
		if count != "" {
			headers = []string{"X-Stainless-Retry-Count", count}
		}
		r := s.send("POST", "/jobs", body, headers...)
		if r.status != http.StatusAccepted {
			t.Fatal(r.status, r.text)
		}
		return strings.TrimPrefix(r.header.Get("Location"), "/jobs/")
	}
	a, b := `{"model":"m","dataset":"d"}`, `{"model":"m","dataset":"d","epochs":1}`
	for i, c := range []struct{ body, count, want string }{
		{a, "", "job_1"}, {a, "", "job_2"}, // other clients: two jobs
		{a, "1", "job_3"}, // the first try never came
		{a, "0", "job_4"}, {a, "1", "job_4"}, {a, "2", "job_4"},
		{b, "1", "job_5"},
		{a, "0", "job_6"}, {b, "2", "job_5"},
	} {
		if got := send(c.body, c.count); got != c.want {
			t.Errorf("%d: got %s, want %s", i, got, c.want)
		}
	}
	now = now.Add(11 * time.Minute)
	if got := send(a, "1"); got != "job_7" {
		t.Errorf("long after: %s", got)
	}
}

func TestListJobs(t *testing.T) {
	var gotAfter string
	var gotLimit int
	h := newHouse()
	h.jobs.list = func(after string, limit int) ([]jobs.Job, bool, error) {
		gotAfter, gotLimit = after, limit
		if after == "job_9" {
			return nil, false, nil
		}
		done := aJob("job_1", jobs.Succeeded)
		loss, at := 1.5, done.Created
		done.Started, done.Finished = &at, &at
		done.Progress.EvalLoss = &loss
		done.Result = &finetune.Result{Adapter: "tuned", EvalLoss: &loss}
		failed := aJob("job_0", jobs.Failed)
		failed.Error = &jobs.Failure{Code: "diverged", Message: "the loss is not finite", Step: 3}
		return []jobs.Job{done, failed}, true, nil
	}
	s := h.open(t)
	r := s.send("GET", "/jobs?after=job_2&limit=2", "")
	if r.status != http.StatusOK || gotAfter != "job_2" || gotLimit != 2 || !strings.Contains(r.text, `"has_more":true`) {
		t.Error(r.status, gotAfter, gotLimit, r.text)
	}
	r = s.send("GET", "/jobs?after=job_9", "")
	if r.text != `{"object":"list","data":[],"has_more":false}`+"\n" || gotLimit != 20 {
		t.Errorf("%q, limit %d", r.text, gotLimit)
	}
	for query, param := range map[string]string{
		"limit=0": "limit", "limit=101": "limit", "limit=x": "limit", "limit=": "limit", "after=": "after", "limit=1&limit=2": "limit",
	} {
		s.refused(s.send("GET", "/jobs?"+query, ""), http.StatusBadRequest, "invalid_value", param, param)
	}
	s.refused(s.send("GET", "/jobs?offset=1", ""), http.StatusBadRequest, "unknown_parameter", "offset", "unknown query parameter")
	s.refused(s.send("GET", "/jobs?limits=1", ""), http.StatusBadRequest, "unknown_parameter", "limits", `"limit"`)
	s.refused(s.send("GET", "/jobs?limit=%zz", ""), http.StatusBadRequest, "invalid_value", "", "query string")
}

func TestOneJob(t *testing.T) {
	h := newHouse()
	h.jobs.find = func(id string) (jobs.Job, error) {
		if id != "job_1" {
			return noJob(id)
		}
		return aJob(id, jobs.Running), nil
	}
	h.jobs.cancel = func(id string) (jobs.Job, error) {
		if id != "job_1" {
			return jobs.Job{}, fault.New(fault.Conflict, "%s is over", id).WithCode("already_finished")
		}
		return aJob(id, jobs.Cancelled), nil
	}
	h.jobs.remove = func(id string) error {
		if id != "job_1" {
			return fault.New(fault.Conflict, "%s is running; cancel it first", id)
		}
		return nil
	}
	h.jobs.curve = func(string) ([]jobs.Progress, error) {
		loss := 2.
		return []jobs.Progress{{Step: 1, Steps: 2, TrainLoss: 3}, {Step: 2, Steps: 2, TrainLoss: 2, EvalLoss: &loss}}, nil
	}
	s := h.open(t)
	if r := s.send("GET", "/jobs/job_1", ""); r.status != http.StatusOK || !strings.Contains(r.text, `"status":"running"`) {
		t.Error(r.status, r.text)
	}
	s.refused(s.send("GET", "/jobs/job_2", ""), http.StatusNotFound, "job_not_found", "", "job_2")
	s.refused(s.send("GET", "/jobs/..%2F..%2Fetc", ""), http.StatusNotFound, "job_not_found", "", "../../etc")
	if r := s.send("POST", "/jobs/job_1/cancel", ""); r.status != http.StatusAccepted {
		t.Error(r.status, r.text)
	}
	if r := s.send("POST", "/jobs/job_1/cancel", "{}"); r.status != http.StatusAccepted {
		t.Error(r.status, r.text)
	}
	s.refused(s.send("POST", "/jobs/job_1/cancel", `{"why":1}`), http.StatusBadRequest, "unknown_parameter", "why", "unknown field")
	r := s.send("POST", "/jobs/job_2/cancel", "")
	s.refused(r, http.StatusConflict, "already_finished", "", "over")
	if r.header.Get("X-Should-Retry") != "false" {
		t.Error("a client would try the conflict again")
	}
	s.refused(s.send("DELETE", "/jobs/job_2", ""), http.StatusConflict, "", "", "cancel it first")
	if r := s.send("DELETE", "/jobs/job_1", ""); r.text != `{"id":"job_1","object":"job","deleted":true}`+"\n" {
		t.Error(r.text)
	}
	if !slices.Equal(h.meters.forgotten, []string{"job_1"}) {
		t.Errorf("the series of %v were removed", h.meters.forgotten)
	}
	if r := s.send("GET", "/jobs/job_1/metrics", ""); r.status != http.StatusOK || !strings.Contains(r.text, `"eval_loss":2`) {
		t.Error(r.status, r.text)
	}
}

func TestJobEvents(t *testing.T) {
	h := newHouse()
	h.jobs.watch = func(_ context.Context, id string) (<-chan jobs.Event, error) {
		if id != "job_1" {
			_, err := noJob(id)
			return nil, err
		}
		c := make(chan jobs.Event, 4)
		c <- jobs.Event{Job: aJob(id, jobs.Queued)}
		c <- jobs.Event{Job: aJob(id, jobs.Running)}
		c <- jobs.Event{Job: aJob(id, jobs.Running), Point: &jobs.Progress{Step: 1, Steps: 2, TrainLoss: 3}}
		c <- jobs.Event{Job: aJob(id, jobs.Succeeded)}
		close(c)
		return c, nil
	}
	s := h.open(t)
	r := s.send("GET", "/jobs/job_1/events", "")
	var names []string
	for _, e := range strings.Split(strings.TrimSuffix(r.text, "\n\n"), "\n\n") {
		var name, text string
		if n, err := fmt.Sscanf(e, "event: %s\n", &name); n != 1 {
			t.Fatalf("%q: %v", e, err)
		}
		_, text, _ = strings.Cut(e, "\ndata: ")
		schema, state := "Progress", ""
		if name == "state" {
			schema = "Job"
			var j jobs.Job
			if err := json.Unmarshal([]byte(text), &j); err != nil {
				t.Fatal(err)
			}
			state = " " + string(j.Status)
		}
		contract.Matches(t, schema, []byte(text))
		names = append(names, name+state)
	}
	if diff := cmp.Diff([]string{"state queued", "state running", "progress", "state succeeded"}, names); diff != "" {
		t.Error(diff)
	}
	s.refused(s.send("GET", "/jobs/job_2/events", ""), http.StatusNotFound, "job_not_found", "", "job_2")
}

// TestWatcherLeaves: its watch ends with it; until then it is kept alive.
func TestWatcherLeaves(t *testing.T) {
	left := make(chan struct{})
	h := newHouse()
	h.KeepAlive = time.Millisecond
	h.jobs.watch = func(ctx context.Context, id string) (<-chan jobs.Event, error) {
		c := make(chan jobs.Event, 1)
		c <- jobs.Event{Job: aJob(id, jobs.Running)}
		context.AfterFunc(ctx, func() { close(left) })
		return c, nil
	}
	s := h.open(t)
	resp, err := s.client.Get(s.base + "/jobs/job_1/events")
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() && lines.Text() != ": ping" {
	}
	if lines.Scan(); lines.Text() != ": ping" {
		t.Errorf("after a ping comes %q", lines.Text())
	}
	resp.Body.Close()
	select {
	case <-left:
	case <-time.After(5 * time.Second):
		t.Fatal("the watch goes on")
	}
}
