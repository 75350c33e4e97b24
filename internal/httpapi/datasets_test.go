package httpapi_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"strings"
	"testing"

	"afina/internal/catalog"
	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/fault"
	"afina/internal/lora"
	"afina/internal/model"
)

const twoLines = `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}` + "\n"

// upload is a form: each field is name, file name ("" for none) and content.
func form(t *testing.T, fields ...[3]string) (body, kind string) {
	t.Helper()
	var buf bytes.Buffer
	w := multipart.NewWriter(&buf)
	for _, f := range fields {
		h := textproto.MIMEHeader{}
		disposition := fmt.Sprintf(`form-data; name=%q`, f[0])
		if f[1] != "" {
			disposition += fmt.Sprintf(`; filename=%q`, f[1])
			h.Set("Content-Type", "application/octet-stream")
		}
		h.Set("Content-Disposition", disposition)
		p, err := w.CreatePart(h)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(p, f[2])
	}
	w.Close()
	return buf.String(), w.FormDataContentType()
}

// keeps is a catalog that keeps what is uploaded.
func (h *house) keeps(name, content *string) {
	h.catalog.add = func(n string, r io.Reader) (catalog.Dataset, error) {
		b, err := io.ReadAll(r)
		if err != nil {
			return catalog.Dataset{}, fmt.Errorf("read the dataset: %w", err)
		}
		*name, *content = n, string(b)
		return aDataset, nil
	}
}

func TestUpload(t *testing.T) {
	var name, content string
	h := newHouse()
	h.Config.Data = t.TempDir()
	h.keeps(&name, &content)
	s := h.open(t)
	file := [3]string{"file", "mis datos.jsonl", twoLines}
	for _, c := range []struct {
		title, query string
		fields       [][3]string // none: the body itself
		want         string
	}{
		{"form", "", [][3]string{file}, "mis datos"},
		{"form, name first", "", [][3]string{{"name", "", "uno"}, file}, "uno"},
		{"form, name last", "", [][3]string{file, {"name", "", "dos"}}, "dos"},
		{"form, name in query", "?name=tres", [][3]string{file, {"name", "", "dos"}}, "tres"},
		{"form, folders", "", [][3]string{{"file", "../../etc/passwd.json", twoLines}}, "passwd"},
		{"body", "", nil, ""},
		{"body, name", "?name=%C3%B1", nil, "ñ"},
	} {
		t.Run(c.title, func(t *testing.T) {
			name, content = "", ""
			body, kind := twoLines, "application/jsonl; charset=utf-8"
			if c.fields != nil {
				body, kind = form(t, c.fields...)
			}
			r := s.send("POST", "/datasets"+c.query, body, "Content-Type", kind)
			if r.status != http.StatusCreated || r.header.Get("Location") != "/datasets/"+aDataset.ID {
				t.Fatal(r.status, r.header, r.text)
			}
			if name != c.want || content != twoLines {
				t.Errorf("kept %q as %q, want it as %q", content, name, c.want)
			}
		})
	}
	if left, err := os.ReadDir(h.Config.Data); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestUploadRefuses(t *testing.T) {
	var name, content string
	h := newHouse()
	h.Config.Data = t.TempDir()
	h.Config.Dataset.MaxBytes = 1024
	h.keeps(&name, &content)
	s := h.open(t)
	file := [3]string{"file", "a.json", twoLines}
	big := strings.Repeat("a", 1024+64<<10+1)
	many := make([][3]string, 9)
	for i := range many {
		many[i] = [3]string{"name", "", ""}
	}
	for _, c := range []struct {
		title    string
		fields   [][3]string
		body     string
		kind     string
		encoding string
		status   int
		code     string
		param    string
		says     string
	}{
		{title: "no file", fields: [][3]string{{"name", "", "x"}}, status: 400, code: "invalid_form", param: "file", says: `no field "file"`},
		{title: "two files", fields: [][3]string{file, file}, status: 400, code: "invalid_form", param: "file", says: "one dataset"},
		{title: "other field", fields: [][3]string{{"files", "a", "x"}}, status: 400, code: "invalid_form", param: "files", says: `did you mean "file"`},
		{title: "a field twice", fields: many, status: 400, code: "invalid_form", param: "name", says: "two fields"},
		{title: "cut form", body: "--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nabc", kind: "multipart/form-data; boundary=x", status: 400, code: "invalid_form", says: "broken"},
		{title: "no boundary", body: "x", kind: "multipart/form-data", status: 400, code: "invalid_form", says: "broken"},
		{title: "form too large", fields: [][3]string{{"file", "a", big}}, status: 413, code: "payload_too_large", says: "larger than"},
		{title: "body too large", body: big, kind: "application/json", status: 413, code: "payload_too_large", says: "larger than"},
		{title: "form's default", body: "x", kind: "application/x-www-form-urlencoded", status: 415, code: "unsupported_media_type", says: "multipart/form-data or application/json"},
		{title: "zip", body: "x", kind: "application/zip", status: 415, code: "unsupported_media_type", says: "Content-Type"},
		{title: "gzip", body: "x", kind: "application/json", encoding: "gzip", status: 415, code: "unsupported_media_type", says: "Content-Encoding"},
		{title: "name", fields: [][3]string{{"name", "", strings.Repeat("n", 201)}, file}, status: 400, code: "invalid_value", param: "name", says: "200 characters"},
		{title: "name not UTF-8", fields: [][3]string{{"name", "", "\xff"}, file}, status: 400, code: "invalid_value", param: "name", says: "UTF-8"},
	} {
		t.Run(c.title, func(t *testing.T) {
			if c.fields != nil {
				c.body, c.kind = form(t, c.fields...)
			}
			headers := []string{"Content-Type", c.kind}
			if c.encoding != "" {
				headers = append(headers, "Content-Encoding", c.encoding)
			}
			(&site{s.house, t, s.base, s.client}).refused(s.send("POST", "/datasets", c.body, headers...), c.status, c.code, c.param, c.says)
			if content != "" {
				t.Errorf("kept %q", content)
			}
			if left, err := os.ReadDir(h.Config.Data); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}

// TestUploadChunked: a body that does not say its length is cut off at the limit.
func TestUploadChunked(t *testing.T) {
	var name, content string
	h := newHouse()
	h.Config.Dataset.MaxBytes = 1024
	h.keeps(&name, &content)
	s := h.open(t)
	req, err := http.NewRequest("POST", s.base+"/datasets", io.MultiReader(strings.NewReader(strings.Repeat("a", 1<<20))))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge || content != "" {
		t.Error(resp.StatusCode, len(content))
	}
}

// TestUploadProblems: all that is wrong with a dataset comes back.
func TestUploadProblems(t *testing.T) {
	h := newHouse()
	problems := []data.Problem{{Line: 1, Column: 2, Conversation: 0, Path: "[0].messages[0].role", Code: "unknown_role", Message: "no"},
		{Line: 3, Column: 1, Conversation: -1, Code: "invalid_json", Message: "no"}}
	h.catalog.add = func(string, io.Reader) (catalog.Dataset, error) {
		return catalog.Dataset{}, fault.New(fault.Unprocessable, "the dataset has 2 problems").WithCode("invalid_dataset").WithDetails(problems)
	}
	s := h.open(t)
	r := s.send("POST", "/datasets", "[]")
	s.refused(r, http.StatusUnprocessableEntity, "invalid_dataset", "", "2 problems")
	if got := r.failure(t).Errors; len(got) != 2 || got[0] != problems[0] || got[1] != problems[1] {
		t.Errorf("%+v", got)
	}
}

func TestDatasets(t *testing.T) {
	h := newHouse()
	h.catalog.datasets = func(after string, limit int) ([]catalog.Dataset, bool, error) {
		if after != "" {
			return nil, false, fault.New(fault.Invalid, "after names %q, which is not in the list", after).WithParam("after")
		}
		return []catalog.Dataset{aDataset}, false, nil
	}
	h.catalog.dataset = func(id string) (catalog.Dataset, error) {
		if id != aDataset.ID && id != aDataset.Name {
			return catalog.Dataset{}, fault.New(fault.NotFound, "there is no dataset %q", id).WithCode("dataset_not_found")
		}
		return aDataset, nil
	}
	used := true
	h.jobs.using = func(id string) (bool, error) { return used && id == aDataset.ID, nil }
	gone := ""
	h.catalog.deleteDataset = func(id string) error { gone = id; return nil }
	s := h.open(t)
	if r := s.send("GET", "/datasets", ""); r.status != http.StatusOK || !strings.Contains(r.text, `"object":"dataset"`) {
		t.Error(r.status, r.text)
	}
	s.refused(s.send("GET", "/datasets?after=ds_x", ""), http.StatusBadRequest, "", "after", "not in the list")
	if r := s.send("GET", "/datasets/mates", ""); r.status != http.StatusOK || !strings.Contains(r.text, aDataset.ID) {
		t.Error(r.status, r.text)
	}
	s.refused(s.send("GET", "/datasets/ds_0", ""), http.StatusNotFound, "dataset_not_found", "", "ds_0")
	s.refused(s.send("DELETE", "/datasets/mates", ""), http.StatusConflict, "dataset_in_use", "", "cancel")
	used = false
	if r := s.send("DELETE", "/datasets/mates", ""); r.text != `{"id":"`+aDataset.ID+`","object":"dataset","deleted":true}`+"\n" || gone != aDataset.ID {
		t.Error(r.text, gone)
	}
}

func TestStatsAndPreviewRefuse(t *testing.T) {
	h := newHouse()
	h.catalog.dataset = func(string) (catalog.Dataset, error) { return aDataset, nil }
	h.catalog.conversations = func(string) ([]chat.Conversation, error) { return make([]chat.Conversation, 2), nil }
	h.catalog.resolve = func(name string) (*model.Model, *lora.Adapter, error) {
		return nil, nil, fault.New(fault.NotFound, "there is no model %q", name).WithCode("model_not_found").WithParam("model")
	}
	s := h.open(t)
	for path, want := range map[string]struct {
		status      int
		code, param string
	}{
		"/stats?model=x":                       {404, "model_not_found", "model"},
		"/stats?max_length=7":                  {400, "invalid_value", "max_length"},
		"/stats?test_split=0.91":               {400, "invalid_value", "test_split"},
		"/stats?test_split=NaN":                {400, "invalid_value", "test_split"},
		"/stats?seed=-1":                       {400, "invalid_value", "seed"},
		"/stats?seeds=1":                       {400, "unknown_parameter", "seeds"},
		"/preview":                             {400, "invalid_value", "model"},
		"/preview?model=x":                     {404, "model_not_found", "model"},
		"/preview?model=x&conversation=2":      {400, "invalid_value", "conversation"},
		"/preview?model=x&conversation=-1":     {400, "invalid_value", "conversation"},
		"/preview?model=x&conversation=1&x=1":  {400, "unknown_parameter", "x"},
		"/preview?model=x&conversation=5e9999": {400, "invalid_value", "conversation"},
	} {
		s.refused(s.send("GET", "/datasets/mates"+path, ""), want.status, want.code, want.param, "")
	}
}

func TestModels(t *testing.T) {
	h := newHouse()
	h.catalog.entries = func() ([]catalog.Entry, error) {
		return []catalog.Entry{
			{Name: "a/b", Created: aDataset.Created, Bytes: 5, Problem: "no tokens"},
			{Name: "ft:tiny:x", Base: "tiny", Job: "job_1", Created: aDataset.Created, Bytes: 3},
		}, nil
	}
	gone := ""
	h.catalog.deleteAdapter = func(name string) error {
		if name == "tiny" {
			return fault.New(fault.Conflict, "%q is a base model", name)
		}
		gone = name
		return nil
	}
	s := h.open(t)
	r := s.send("GET", "/v1/models", "")
	want := `{"object":"list","data":[{"id":"a/b","object":"model","created":1795419000,"owned_by":"afina","bytes":5,"problem":"no tokens"},` +
		`{"id":"ft:tiny:x","object":"model","created":1795419000,"owned_by":"afina","base":"tiny","job":"job_1","bytes":3}],"has_more":false}` + "\n"
	if r.text != want {
		t.Error(r.text)
	}
	for _, path := range []string{"a%2Fb", "A%2fB", "ft:tiny:x", "ft%3Atiny%3Ax"} {
		if r := s.send("GET", "/v1/models/"+path, ""); r.status != http.StatusOK {
			t.Error(path, r.status, r.text)
		}
	}
	s.refused(s.send("GET", "/v1/models/c%25", ""), http.StatusNotFound, "model_not_found", "model", `"c%"`)
	if r := s.send("DELETE", "/v1/models/ft:tiny:x", ""); r.status != http.StatusOK || gone != "ft:tiny:x" {
		t.Error(r.status, r.text, gone)
	}
	s.refused(s.send("DELETE", "/v1/models/tiny", ""), http.StatusConflict, "", "", "base model")
	h.catalog.entries = func() ([]catalog.Entry, error) { return nil, errors.New("read models: EIO") }
	s.refused(s.send("GET", "/v1/models", ""), http.StatusInternalServerError, "internal_error", "", "internal")
}
