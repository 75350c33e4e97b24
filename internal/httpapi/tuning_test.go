package httpapi_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"afina/internal/catalog"
	"afina/internal/fault"
	"afina/internal/finetune"
	"afina/internal/jobs"
	"afina/internal/store"
)

const (
	aFileID = "file-0123456789abcdef"
	tunings = "/v1/fine_tuning/jobs"
)

func someFile(id, purpose string) catalog.File {
	return catalog.File{ID: id, Purpose: purpose, Name: "mates.jsonl", Bytes: 5, Created: time.Unix(1795419000, 0)}
}

// TestUploadFile: the fields come after the file, and OpenAI's other purposes are
// refused by name.
func TestUploadFile(t *testing.T) {
	h := newHouse()
	h.Config.Data = t.TempDir()
	var got struct {
		name, text string
		after      time.Duration
	}
	h.catalog.addExpiring = func(name string, r io.Reader, after time.Duration) (catalog.Dataset, error) {
		text, err := io.ReadAll(r)
		got.name, got.text, got.after = name, string(text), after
		return aDataset, err
	}
	h.catalog.file = func(id string) (catalog.File, error) { return someFile(id, store.ForTraining), nil }
	s := h.open(t)
	file := [3]string{"file", "mates.jsonl", "abc"}
	send := func(fields ...[3]string) reply {
		body, kind := form(t, fields...)
		return s.send("POST", "/v1/files", body, "Content-Type", kind)
	}
	r := send(file, [3]string{"purpose", "", "fine-tune"}, [3]string{"expires_after[anchor]", "", "created_at"}, [3]string{"expires_after[seconds]", "", "3600"})
	want := `{"id":"` + aFileID + `","object":"file","bytes":5,"created_at":1795419000,"filename":"mates.jsonl","purpose":"fine-tune","status":"processed"}`
	if r.status != http.StatusOK || strings.TrimSpace(r.text) != want || got.name != "mates.jsonl" || got.text != "abc" || got.after != time.Hour {
		t.Errorf("%d %s, %+v", r.status, r.text, got)
	}
	for _, c := range []struct {
		fields      [][3]string
		code, param string
	}{
		{[][3]string{file}, "missing_required_parameter", "purpose"},
		{[][3]string{file, {"purpose", "", "assistants"}}, "unsupported_value", "purpose"},
		{[][3]string{file, {"purpose", "", "batch"}}, "unsupported_value", "purpose"},
		{[][3]string{file, {"purpose", "", "vision"}}, "unsupported_value", "purpose"},
		{[][3]string{file, {"purpose", "", "user_data"}}, "unsupported_value", "purpose"},
		{[][3]string{file, {"purpose", "", "evals"}}, "unsupported_value", "purpose"},
		{[][3]string{file, {"purpose", "", "x"}}, "invalid_value", "purpose"},
		{[][3]string{{"purpose", "", "fine-tune"}}, "invalid_form", "file"},
		{[][3]string{file, {"purpose", "", "fine-tune"}, {"expires_after[anchor]", "", "now"}}, "invalid_value", "expires_after[anchor]"},
		{[][3]string{file, {"purpose", "", "fine-tune"}, {"expires_after[anchor]", "", "created_at"}, {"expires_after[seconds]", "", "3599"}}, "invalid_value", "expires_after[seconds]"},
	} {
		s.refused(send(c.fields...), http.StatusBadRequest, c.code, c.param, "")
	}
}

// TestFiles: pages, order, purpose, content, deletion; a result by its own id.
func TestFiles(t *testing.T) {
	h := newHouse()
	var asked string
	h.catalog.files = func(purpose, after string, limit int, rising bool) ([]catalog.File, bool, error) {
		asked = fmt.Sprint(purpose, after, limit, rising)
		if after == "ds_ffffffffffffffff" {
			return nil, false, fault.New(fault.Invalid, "no such").WithParam("after").WithCode("invalid_value")
		}
		end := someFile("ds_0123456789abcdef", store.ForTraining)
		at := time.Unix(1795420000, 0)
		end.Name, end.Expires = "mates", &at
		return []catalog.File{someFile("job_0123456789abcdef", store.OfResults), end}, true, nil
	}
	h.catalog.file = func(id string) (catalog.File, error) {
		switch id {
		case "job_0123456789abcdef":
			return someFile(id, store.OfResults), nil
		case "ds_0123456789abcdef":
			return someFile(id, store.ForTraining), nil
		}
		return catalog.File{}, fault.New(fault.NotFound, "there is no file %q", id).WithCode("file_not_found")
	}
	h.catalog.content = func(id string) (io.ReadCloser, int64, error) {
		return io.NopCloser(strings.NewReader("a,b\n")), 4, nil
	}
	h.catalog.deleteFile = func(id string) error {
		return fault.New(fault.Conflict, "a job needs it").WithCode("dataset_in_use")
	}
	s := h.open(t)
	r := s.send("GET", "/v1/files", "")
	if r.status != http.StatusOK || asked != "10000 false" && asked != " 10000 false" && !strings.Contains(asked, "10000") {
		t.Error(r.status, asked)
	}
	for _, want := range []string{`"has_more":true`, `"first_id":"file-results-0123456789abcdef"`, `"last_id":"` + aFileID + `"`, `"filename":"mates.jsonl"`, `"expires_at":1795420000`} {
		if !strings.Contains(r.text, want) {
			t.Errorf("%s lacks %s", r.text, want)
		}
	}
	if s.send("GET", "/v1/files?after="+aFileID+"&limit=2&order=asc&purpose=fine-tune-results", ""); asked != "fine-tune-resultsds_0123456789abcdef2 true" {
		t.Errorf("asked %s", asked)
	}
	for query, param := range map[string]string{"limit=0": "limit", "limit=10001": "limit", "order=up": "order", "purpose=x": "purpose", "after=": "after", "after=file-ffffffffffffffff": "after"} {
		s.refused(s.send("GET", "/v1/files?"+query, ""), http.StatusBadRequest, "invalid_value", param, "")
	}
	if r := s.send("GET", "/v1/files/file-results-0123456789abcdef", ""); !strings.Contains(r.text, `"purpose":"fine-tune-results"`) {
		t.Error(r.text)
	}
	s.refused(s.send("GET", "/v1/files/file-x", ""), http.StatusNotFound, "file_not_found", "", "no file")
	r = s.send("GET", "/v1/files/"+aFileID+"/content", "", "Accept", "application/binary")
	if r.text != "a,b\n" || r.header.Get("Content-Length") != "4" {
		t.Errorf("%q %v", r.text, r.header)
	}
	s.refused(s.send("DELETE", "/v1/files/"+aFileID, ""), http.StatusBadRequest, "dataset_in_use", "", "")
	h.catalog.deleteFile = func(id string) error { return nil }
	if r := s.send("DELETE", "/v1/files/"+aFileID, ""); strings.TrimSpace(r.text) != `{"id":"`+aFileID+`","object":"file","deleted":true}` {
		t.Error(r.text)
	}
}

// TestTune: what of the request reaches the queue.
func TestTune(t *testing.T) {
	h := newHouse()
	var got jobs.Order
	h.jobs.place = func(o jobs.Order) (jobs.Job, error) {
		got = o
		return aJob("job_0123456789abcdef", jobs.Queued), nil
	}
	s := h.open(t)
	base := func(change func(*finetune.Spec)) finetune.Spec {
		spec := finetune.Defaults()
		spec.Model, spec.Dataset = "tiny", aDataset.ID
		if change != nil {
			change(&spec)
		}
		return spec
	}
	named := "mates"
	for _, c := range []struct {
		name, fields string
		want         jobs.Order
	}{
		{"little", "", jobs.Order{Spec: base(nil), Suffix: new(string)}},
		{"auto", `,"suffix":"mates","seed":7,"validation_file":"file-aaaaaaaaaaaaaaaa","metadata":{"a":"b"},"integrations":[],
			"method":{"type":"supervised","supervised":{"hyperparameters":{"n_epochs":"auto","batch_size":"auto","learning_rate_multiplier":"auto"}}}`,
			jobs.Order{Spec: base(func(s *finetune.Spec) { s.Seed, s.Validation = 7, "ds_aaaaaaaaaaaaaaaa" }), Suffix: &named, Metadata: jobs.Metadata{"a": "b"}}},
		{"numbers and ours", `,"method":{"type":"supervised","supervised":{"hyperparameters":{"n_epochs":5,"batch_size":2,"learning_rate_multiplier":2,
			"rank":4,"lora":{"alpha":8},"schedule":"linear","eval_every":3,"unknown":{"x":1}},"other":1},"more":2},"x_mine":true`,
			jobs.Order{Suffix: new(string), Spec: base(func(s *finetune.Spec) {
				s.Epochs, s.BatchSize, s.LearningRate, s.Schedule, s.EvalEvery = 5, 2, 4e-4, "linear", 3
				s.LoRA.Rank, s.LoRA.Alpha = 4, 8
			})}},
		{"the old place", `,"hyperparameters":{"n_epochs":2},"suffix":null,"validation_file":null,"method":null,"seed":null,"metadata":null,"integrations":null`,
			jobs.Order{Suffix: new(string), Spec: base(func(s *finetune.Spec) { s.Epochs = 2 })}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := s.send("POST", tunings, `{"model":"tiny","training_file":"`+aFileID+`"`+c.fields+`}`)
			if r.status != http.StatusOK || !strings.Contains(r.text, `"id":"ftjob-0123456789abcdef"`) {
				t.Fatal(r.status, r.text)
			}
			c.want.Patient = true
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	many := strings.Repeat(`"k":"v",`, 16)
	for i := range 16 {
		many = strings.Replace(many, `"k"`, fmt.Sprintf(`"k%d"`, i), 1)
	}
	for _, c := range []struct{ fields, code, param string }{
		{`,"suffix":""`, "invalid_value", "suffix"},
		{`,"suffix":"` + strings.Repeat("x", 65) + `"`, "invalid_value", "suffix"},
		{`,"seed":2147483648`, "invalid_value", "seed"},
		{`,"seed":-1`, "invalid_value", "seed"},
		{`,"method":{"type":"dpo","dpo":{}}`, "unsupported_value", "method.type"},
		{`,"method":{"type":"reinforcement"}`, "unsupported_value", "method.type"},
		{`,"hyperparameters":{"n_epochs":51}`, "invalid_value", "hyperparameters.n_epochs"},
		{`,"hyperparameters":{"n_epochs":1.5}`, "invalid_value", "hyperparameters.n_epochs"},
		{`,"hyperparameters":{"batch_size":257}`, "invalid_value", "hyperparameters.batch_size"},
		{`,"hyperparameters":{"batch_size":"many"}`, "invalid_type", "hyperparameters.batch_size"},
		{`,"hyperparameters":{"learning_rate_multiplier":0}`, "invalid_value", "hyperparameters.learning_rate_multiplier"},
		{`,"hyperparameters":{"rank":257}`, "invalid_value", "hyperparameters.lora.rank"},
		{`,"integrations":[{"type":"wandb"}]`, "unsupported_parameter", "integrations"},
		{`,"metadata":{` + many + `"last":"v"}`, "invalid_value", "metadata"},
		{`,"metadata":{"` + strings.Repeat("k", 65) + `":"v"}`, "invalid_value", "metadata"},
		{`,"validation_file":"x"`, "file_not_found", "validation_file"},
	} {
		s.refused(s.send("POST", tunings, `{"model":"tiny","training_file":"`+aFileID+`"`+c.fields+`}`), http.StatusBadRequest, c.code, c.param, "")
	}
	s.refused(s.send("POST", tunings, `{"model":"tiny","training_file":"x"}`), http.StatusBadRequest, "file_not_found", "training_file", "")
	s.refused(s.send("POST", tunings, `{"model":"tiny"}`), http.StatusBadRequest, "missing_required_parameter", "training_file", "")
}

// TestTuneOnce: a retry of OpenAI's clients finds the first job, so does a key; the
// retry of a try that was refused does not find what equal words made before.
func TestTuneOnce(t *testing.T) {
	h := newHouse()
	var keys []string
	h.jobs.place = func(o jobs.Order) (jobs.Job, error) {
		keys = append(keys, o.Key)
		return aJob(fmt.Sprintf("job_%016d", len(keys)), jobs.Queued), nil
	}
	h.jobs.find = func(id string) (jobs.Job, error) { return aJob(id, jobs.Running), nil }
	s := h.open(t)
	body := `{"model":"tiny","training_file":"` + aFileID + `"}`
	first := s.send("POST", tunings, body, "X-Stainless-Retry-Count", "0")
	again := s.send("POST", tunings, body, "X-Stainless-Retry-Count", "1")
	other := s.send("POST", tunings, body, "Idempotency-Key", "k")
	if len(keys) != 2 || keys[1] != "k" || !strings.Contains(again.text, "ftjob-0000000000000001") || first.status != 200 || other.status != 200 {
		t.Errorf("placed %q: %s", keys, again.text)
	}
	well := h.jobs.place
	h.jobs.place = func(jobs.Order) (jobs.Job, error) { return jobs.Job{}, fault.New(fault.Busy, "full") }
	if r := s.send("POST", tunings, body, "X-Stainless-Retry-Count", "0"); r.status != http.StatusTooManyRequests {
		t.Errorf("%d %s", r.status, r.text)
	}
	h.jobs.place = well
	if r := s.send("POST", tunings, body, "X-Stainless-Retry-Count", "1"); !strings.Contains(r.text, "ftjob-0000000000000003") {
		t.Errorf("the retry of a refused try finds an older job: %s", r.text)
	}
}

// TestTunedJob: a job in each state.
func TestTunedJob(t *testing.T) {
	h := newHouse()
	end := time.Unix(1795419100, 0)
	h.jobs.find = func(id string) (jobs.Job, error) {
		j := aJob("job_0123456789abcdef", jobs.Running)
		switch id {
		case "job_running":
			j.Progress.ETASeconds = 60
		case "job_succeeded":
			j.Status, j.Finished, j.Metadata = jobs.Succeeded, &end, jobs.Metadata{"a": "b"}
			j.Result = &finetune.Result{Adapter: "mates-0123456789abcdef", TrainedTokens: 99}
		case "job_failed":
			j.Status, j.Finished, j.Error = jobs.Failed, &end, &jobs.Failure{Code: "invalid_training_file", Message: "nothing"}
		case "job_paused":
			j.Status = jobs.Paused
		default:
			return noJob(id)
		}
		return j, nil
	}
	s := h.open(t)
	for id, want := range map[string][]string{
		"running":   {`"status":"running"`, `"estimated_finish":1795419060`, `"fine_tuned_model":null`, `"finished_at":null`, `"result_files":[]`, `"error":null`, `"trained_tokens":null`, `"integrations":null`, `"training_file":"` + aFileID + `"`, `"validation_file":null`, `"seed":42`, `"learning_rate_multiplier":1`, `"type":"supervised"`},
		"succeeded": {`"fine_tuned_model":"ft:tiny:afina:mates:0123456789abcdef"`, `"finished_at":1795419100`, `"result_files":["file-results-0123456789abcdef"]`, `"trained_tokens":99`, `"metadata":{"a":"b"}`, `"estimated_finish":null`},
		"failed":    {`"error":{"code":"invalid_training_file","message":"nothing","param":"training_file"}`},
		"paused":    {`"status":"paused"`},
	} {
		r := s.send("GET", tunings+"/ftjob-"+id, "")
		for _, w := range want {
			if r.status != http.StatusOK || !strings.Contains(r.text, w) {
				t.Errorf("%s: %d %s lacks %s", id, r.status, r.text, w)
			}
		}
	}
	s.refused(s.send("GET", tunings+"/ftjob-x", ""), http.StatusNotFound, "job_not_found", "", "")
	conflict := func(string) (jobs.Job, error) {
		return jobs.Job{}, fault.New(fault.Conflict, "it is over").WithCode("already_finished")
	}
	h.jobs.cancel, h.jobs.pause, h.jobs.resume = conflict, conflict, conflict
	for _, verb := range []string{"cancel", "pause", "resume"} {
		s.refused(s.send("POST", tunings+"/ftjob-x/"+verb, ""), http.StatusBadRequest, "already_finished", "", "")
	}
	well := func(id string) (jobs.Job, error) { return aJob("job_0123456789abcdef", jobs.Running), nil }
	h.jobs.cancel, h.jobs.pause, h.jobs.resume = well, well, well
	for _, verb := range []string{"cancel", "pause", "resume"} {
		if r := s.send("POST", tunings+"/ftjob-x/"+verb, "{}"); r.status != http.StatusOK {
			t.Errorf("%s: %d %s", verb, r.status, r.text)
		}
	}
}

// TestTuningLists: jobs by metadata, events, checkpoints.
func TestTuningLists(t *testing.T) {
	h := newHouse()
	var asked string
	h.jobs.find = func(id string) (jobs.Job, error) { return aJob(id, jobs.Running), nil }
	h.jobs.listLike = func(after string, limit int, pairs jobs.Metadata) ([]jobs.Job, bool, error) {
		asked = fmt.Sprint(after, limit, pairs)
		return []jobs.Job{aJob("job_0123456789abcdef", jobs.Queued)}, false, nil
	}
	eval, train, valid := 0.5, 0.25, 0.125
	h.jobs.happenings = func(id, after string, limit int) ([]jobs.Happening, bool, error) {
		asked = fmt.Sprint(id, " ", after, " ", limit)
		at := time.Unix(1795419000, 0)
		return []jobs.Happening{{ID: "7", Created: at, Level: "info", Message: "Step 2/9", Point: &jobs.Progress{Step: 2, Steps: 9, TrainLoss: 1.5, TrainAccuracy: &train, EvalLoss: &eval, EvalAccuracy: &valid}},
			{ID: "6", Created: at, Level: "warn", Message: "x"}}, true, nil
	}
	h.catalog.steps = func(job string) (all []catalog.Step, err error) {
		for n := 12; n > 0; n-- {
			all = append(all, catalog.Step{Number: n, TrainLoss: 2, EvalLoss: 1, TrainAccuracy: &train, EvalAccuracy: &valid, Model: "ft:m:ckpt-step-" + fmt.Sprint(n), Created: time.Unix(1795419000, 0)})
		}
		return all, nil
	}
	s := h.open(t)
	s.send("GET", tunings+"?after=ftjob-0123456789abcdef&limit=3&"+url.QueryEscape("metadata[a b]")+"="+url.QueryEscape("c&d"), "")
	if asked != "job_0123456789abcdef3 map[a b:c&d]" && asked != "job_0123456789abcdef 3 map[a b:c&d]" {
		t.Errorf("asked %q", asked)
	}
	s.send("GET", tunings, "")
	if !strings.Contains(asked, "20") {
		t.Errorf("20 by default: %q", asked)
	}
	s.refused(s.send("GET", tunings+"?metadata=x", ""), http.StatusBadRequest, "unknown_parameter", "metadata", "")
	for _, no := range []string{"metadata[]=x", "metadata[]=x&metadata[]=y", "metadata[a]=b&metadata[]=x", "metadata[a][b]=x", "metadata[a][]=x"} {
		s.refused(s.send("GET", tunings+"?"+no, ""), http.StatusBadRequest, "invalid_value", "metadata", "metadata[key]=value")
	}
	r := s.send("GET", tunings+"/ftjob-1/events?after=ftevent-8&limit=2", "")
	for _, want := range []string{`"id":"ftevent-7","object":"fine_tuning.job.event","created_at":1795419000,"level":"info","message":"Step 2/9","type":"metrics","data":{"step":2,"total_steps":9,"train_loss":1.5,"train_mean_token_accuracy":0.25,"valid_loss":0.5,"valid_mean_token_accuracy":0.125,"full_valid_loss":0.5,"full_valid_mean_token_accuracy":0.125}`,
		`"type":"message","data":null`, `"has_more":true`} {
		if asked != "job_1 8 2" || !strings.Contains(r.text, want) {
			t.Errorf("asked %q: %s lacks %s", asked, r.text, want)
		}
	}
	r = s.send("GET", tunings+"/ftjob-1/checkpoints", "")
	if strings.Count(r.text, `"id"`) != 10 || !strings.Contains(r.text, `"first_id":"ftckpt_1_12"`) || !strings.Contains(r.text, `"has_more":true`) {
		t.Error(r.text)
	}
	if want := `"metrics":{"step":12,"train_loss":2,"train_mean_token_accuracy":0.25,"valid_loss":1,"valid_mean_token_accuracy":0.125,"full_valid_loss":1,"full_valid_mean_token_accuracy":0.125}`; !strings.Contains(r.text, want) {
		t.Errorf("%s lacks %s", r.text, want)
	}
	r = s.send("GET", tunings+"/ftjob-1/checkpoints?after=ftckpt_1_3&limit=9", "")
	if strings.Count(r.text, `"id"`) != 2 || !strings.Contains(r.text, `"has_more":false`) || !strings.Contains(r.text, `"fine_tuned_model_checkpoint":"ft:m:ckpt-step-2"`) {
		t.Error(r.text)
	}
	s.refused(s.send("GET", tunings+"/ftjob-1/checkpoints?after=x", ""), http.StatusBadRequest, "invalid_value", "after", "")
}
