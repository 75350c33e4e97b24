package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"afina/internal/chat"
	"afina/internal/client"
	"afina/internal/contract"
	"afina/internal/jobs"
	"afina/internal/modeltest"
)

// asProgram makes the test binary the program itself.
const asProgram = "AFINA_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// service is one running program, which can be killed and started again. All that
// is said to it and all that it says is held against the contract.
type service struct {
	*client.Client
	t       testing.TB
	address string
	data    string
	models  string
	env     []string
	cmd     *exec.Cmd
	log     *bytes.Buffer
}

// newService prepares a service with one tiny model, called "tiny".
func newService(t testing.TB, env ...string) *service {
	t.Helper()
	models := t.TempDir()
	tiny := modeltest.Write(t, modeltest.Shape{Hidden: 64, Layers: 2, Heads: 4, KVHeads: 2, FFN: 128, Context: 512, Seed: 1})
	if err := os.Rename(tiny, filepath.Join(models, "tiny.gguf")); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	s := &service{t: t, address: address, data: t.TempDir(), models: models, env: env,
		Client: &client.Client{Base: contract.Proxy(t, "http://"+address)}}
	t.Cleanup(func() {
		if s.cmd != nil {
			s.kill()
		}
		if t.Failed() && s.log != nil {
			t.Logf("log of the service:\n%s", s.log)
		}
	})
	return s
}

// command is the program with the service's folders.
func (s *service) command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], append(args, "--listen", s.address, "--data", s.data, "--models", s.models)...)
	cmd.Env = append(append(os.Environ(), asProgram+"=1"), s.env...)
	return cmd
}

// start runs the program and waits until it is ready.
func (s *service) start() {
	s.t.Helper()
	s.cmd, s.log = s.command("serve"), &bytes.Buffer{}
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		if resp, err := http.Get(s.Base + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.kill()
	s.t.Fatalf("the service did not become ready:\n%s", s.log)
}

// kill ends the program with SIGKILL.
func (s *service) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// stop ends the program with SIGTERM and returns how it ended.
func (s *service) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	err := s.cmd.Wait()
	s.cmd = nil
	return err
}

// upload stores a dataset of n small conversations.
func (s *service) upload(n int) string {
	s.t.Helper()
	var all []chat.Conversation
	for i := range n {
		all = append(all, chat.Conversation{Messages: []chat.Message{
			{Role: chat.User, Content: fmt.Sprintf("¿Cuánto es %d + %d?", i, i+1)},
			{Role: chat.Assistant, Content: fmt.Sprintf("%d + %d = %d", i, i+1, 2*i+1)},
		}})
	}
	b, err := json.Marshal(all)
	if err != nil {
		s.t.Fatal(err)
	}
	file := filepath.Join(s.t.TempDir(), "sumas.json")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		s.t.Fatal(err)
	}
	id, err := s.Upload(s.t.Context(), file, "sumas")
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// submit orders a job.
func (s *service) submit(order map[string]any) jobs.Job {
	s.t.Helper()
	var job jobs.Job
	if err := s.Post(s.t.Context(), "/jobs", order, &job); err != nil {
		s.t.Fatal(err)
	}
	return job
}

// job returns a job as it stands.
func (s *service) job(id string) (jobs.Job, error) {
	var job jobs.Job
	err := s.Call(context.Background(), http.MethodGet, "/jobs/"+id, "", nil, &job)
	return job, err
}

// wait returns a job when it is over.
func (s *service) wait(id string, limit time.Duration) jobs.Job {
	s.t.Helper()
	deadline := time.Now().Add(limit)
	for time.Now().Before(deadline) {
		if job, err := s.job(id); err == nil && job.Finished != nil {
			return job
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.t.Fatalf("job %s is not over after %v", id, limit)
	return jobs.Job{}
}

// get returns the body of a GET.
func (s *service) get(path string) string {
	s.t.Helper()
	resp, err := http.Get(s.Base + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("GET %s: %s: %s", path, resp.Status, b.String())
	}
	return b.String()
}

// TestWholePath walks upload, train, watch, chat on a tiny model.
func TestWholePath(t *testing.T) {
	s := newService(t)
	s.start()
	dataset := s.upload(40)
	job := s.submit(map[string]any{"model": "tiny", "dataset": dataset, "name": "sumas", "epochs": 4, "learning_rate": 5e-3})
	if job.Status != jobs.Queued && job.Status != jobs.Running || !strings.HasPrefix(job.ID, "job_") {
		t.Fatalf("submitted job = %+v", job)
	}
	points := 0
	job, err := s.Watch(t.Context(), job.ID, func(jobs.Progress) { points++ })
	if err != nil {
		t.Fatal(err)
	}
	if job.Status != jobs.Succeeded || job.Result == nil || points == 0 {
		t.Fatalf("after %d points the job is %+v, error %+v", points, job, job.Error)
	}
	r := job.Result
	if r.FirstEval == nil || r.EvalLoss == nil || *r.EvalLoss >= *r.FirstEval {
		t.Errorf("held-out loss did not fall: %+v", r)
	}
	for _, name := range []string{"adapter_config.json", "adapter_model.safetensors", "adapter.gguf"} {
		if _, err := os.Stat(filepath.Join(r.Folder, name)); err != nil {
			t.Error(err)
		}
	}

	var models struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(s.get("/v1/models")), &models); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(models.Data) != "[{sumas} {tiny}]" {
		t.Errorf("models = %v, want sumas and tiny", models.Data)
	}

	zero := 0.0
	q := client.Question{Model: "sumas", Messages: []client.Message{{Role: "user", Content: "¿Cuánto es 1 + 2?"}}, Temperature: &zero, MaxTokens: 16}
	tuned, err := s.Chat(t.Context(), q, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	q.Model = "tiny"
	base, err := s.Chat(t.Context(), q, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if tuned == "" || tuned == base {
		t.Errorf("the tuned model answers %q, the base %q", tuned, base)
	}
	if m := s.get("/metrics"); !strings.Contains(m, "afina_job_train_loss{") || !strings.Contains(m, "afina_time_to_first_token_seconds_count") {
		t.Error("/metrics lacks the curves of the job or the timing of the answers")
	}
	if err := s.stop(); err != nil {
		t.Errorf("after SIGTERM: %v, want exit 0", err)
	}
}

// TestUsableAtOnce asks the tuned model within a second of the job's end.
func TestUsableAtOnce(t *testing.T) {
	s := newService(t)
	s.start()
	job := s.submit(map[string]any{"model": "tiny", "dataset": s.upload(20), "name": "pronto", "epochs": 1})
	if _, err := s.Watch(t.Context(), job.ID, func(jobs.Progress) {}); err != nil {
		t.Fatal(err)
	}
	ended := time.Now()
	_, err := s.Chat(t.Context(), client.Question{Model: "pronto", Messages: []client.Message{{Role: "user", Content: "1 + 1"}}, MaxTokens: 1}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Since(ended); d > time.Second {
		t.Errorf("the first token came %v after the job's end", d)
	}
}

// TestKill kills the service at ten random moments of a job; the adapter must be
// that of an undisturbed run, bit by bit.
func TestKill(t *testing.T) {
	order := map[string]any{"model": "tiny", "epochs": 24, "batch_size": 4, "save_every": 7, "learning_rate": 1e-3}
	run := func(disturb func(s *service, id string)) *jobs.Job {
		s := newService(t)
		s.start()
		order["dataset"], order["name"] = s.upload(120), "kill"
		id := s.submit(order).ID
		disturb(s, id)
		job := s.wait(id, 3*time.Minute)
		if job.Status != jobs.Succeeded {
			t.Fatalf("job = %+v, error %+v", job, job.Error)
		}
		return &job
	}
	var took time.Duration
	start := time.Now()
	calm := run(func(*service, string) {})
	took = time.Since(start)
	killed := 0
	torn := run(func(s *service, id string) {
		for i := range 10 {
			// Moments spread over the run, from before the first step on, and anywhere
			// inside a step.
			for at := i*60 + rand.IntN(20)*min(i, 1); ; time.Sleep(2 * time.Millisecond) {
				job, err := s.job(id)
				if err == nil && job.Finished != nil {
					return
				}
				if err == nil && job.Progress.Step >= at {
					break
				}
			}
			time.Sleep(time.Duration(rand.IntN(15)) * time.Millisecond)
			s.kill()
			killed++
			s.start()
		}
	})
	t.Logf("undisturbed %v; %d kills; %d steps; SHA-256 %s and %s", took, killed, calm.Result.Steps, calm.Result.SHA256, torn.Result.SHA256)
	if killed < 10 {
		t.Errorf("only %d kills fell into the job", killed)
	}
	if calm.Result.SHA256 != torn.Result.SHA256 || calm.Result.SHA256 == "" {
		t.Errorf("adapters differ: %s undisturbed, %s killed", calm.Result.SHA256, torn.Result.SHA256)
	}
}

// TestCancel cancels a running and a waiting job.
func TestCancel(t *testing.T) {
	s := newService(t, "AFINA_JOBS__WORKERS=1")
	s.start()
	dataset := s.upload(100)
	long := map[string]any{"model": "tiny", "dataset": dataset, "epochs": 1000}
	long["name"] = "a"
	running := s.submit(long)
	long["name"] = "b"
	waiting := s.submit(long)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if job, err := s.job(running.ID); err == nil && job.Progress.Step > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the first job never made a step")
		}
	}
	for _, id := range []string{waiting.ID, running.ID} {
		start := time.Now()
		if err := s.Post(t.Context(), "/jobs/"+id+"/cancel", struct{}{}, nil); err != nil {
			t.Fatal(err)
		}
		if job := s.wait(id, 10*time.Second); job.Status != jobs.Cancelled {
			t.Errorf("job %s is %s, want cancelled", id, job.Status)
		}
		t.Logf("%s was cancelled within %v", id, time.Since(start).Round(time.Millisecond))
	}
	if err := s.Post(t.Context(), "/jobs/"+running.ID+"/cancel", struct{}{}, nil); err == nil {
		t.Error("cancelling a job that is over succeeded")
	}
	if strings.Contains(s.get("/v1/models"), `"a"`) {
		t.Error("a cancelled job published its adapter")
	}
}

// TestManyJobs gives 20 jobs to 2 workers.
func TestManyJobs(t *testing.T) {
	s := newService(t, "AFINA_JOBS__WORKERS=2")
	s.start()
	dataset := s.upload(16)
	var ids []string
	for i := range 20 {
		ids = append(ids, s.submit(map[string]any{"model": "tiny", "dataset": dataset, "name": fmt.Sprintf("grupo-%02d", i), "epochs": 2, "seed": i}).ID)
	}
	most := 0
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		var page struct {
			Data []jobs.Job `json:"data"`
		}
		if err := json.Unmarshal([]byte(s.get("/jobs?limit=100")), &page); err != nil {
			t.Fatal(err)
		}
		running, over := 0, 0
		for _, j := range page.Data {
			if j.Status == jobs.Running {
				running++
			}
			if j.Finished != nil {
				over++
			}
		}
		most = max(most, running)
		if over == len(ids) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d jobs are over", over, len(ids))
		}
	}
	if most != 2 {
		t.Errorf("at most %d jobs ran at once, want 2", most)
	}
	sums := map[string]bool{}
	for _, id := range ids {
		job, err := s.job(id)
		if err != nil || job.Status != jobs.Succeeded {
			t.Fatalf("job %s: %+v %v", id, job, err)
		}
		sums[job.Result.SHA256] = true
	}
	if len(sums) != len(ids) {
		t.Errorf("%d different adapters of %d seeds", len(sums), len(ids))
	}
}
