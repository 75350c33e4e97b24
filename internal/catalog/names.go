package catalog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// The names that OpenAI's clients know fine-tuned models by:
//
//	ft:<base>:afina:<suffix>:<id>                what a job made
//	ft:<base>:afina:<suffix>:<id>:ckpt-step-<n>  what it was after a step
//	<job>:live                                   what a running job has learnt so far
//
// id is a job's without "job_". They are other words for the names of adapters,
// found by the job: what is on disk is not called so.
const (
	owner     = "afina"
	fineTuned = "ft:"
	stepMark  = ":ckpt-step-"
	liveMark  = ":live"
	jobPrefix = "job_"
)

var (
	madeBy = regexp.MustCompile(`^(?i:ft:).+:([a-z0-9]{16})$`)
	aLive  = regexp.MustCompile(`^(?:job_|ftjob-)([a-z0-9]{16})` + liveMark + `$`)
)

// maxSuffix is how many letters of a suffix are kept.
const maxSuffix = 64

// AdapterName is the adapter's name for a suffix and the job that makes it. The
// suffix may be any text: what a name must not have becomes "-".
func AdapterName(suffix, job string) string {
	var b strings.Builder
	for _, r := range suffix {
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("._-", r):
			b.WriteRune(r)
		default:
			b.WriteByte('-')
		}
	}
	stem := []rune(strings.Trim(b.String(), "._-"))
	if len(stem) > maxSuffix {
		stem = stem[:maxSuffix]
	}
	if len(stem) == 0 {
		stem = []rune("ft")
	}
	return string(stem) + "-" + strings.TrimPrefix(job, jobPrefix)
}

// FineTuned is the name by which OpenAI's clients know the adapter of that name,
// made by job from base.
func FineTuned(base, name, job string) string {
	id := strings.TrimPrefix(job, jobPrefix)
	suffix := strings.TrimSuffix(name, "-"+id)
	if suffix == "ft" && suffix != name {
		suffix = ""
	}
	return fmt.Sprintf("%s%s:%s:%s:%s", fineTuned, base, owner, suffix, id)
}

// AtStep is the name of a model as it was after a step of its job.
func AtStep(fineTuned string, step int) string { return fineTuned + stepMark + strconv.Itoa(step) }

// alias is the OpenAI name of a published adapter, "" when no job made it.
func (n noted) alias() string {
	if n.Job == "" {
		return ""
	}
	return FineTuned(n.Base, n.Name, n.Job)
}

// liveOf reports whether name is that of a running job's adapter, and whose.
func liveOf(name string) (job string, ok bool) {
	m := aLive.FindStringSubmatch(name)
	if m == nil {
		return "", false
	}
	return jobPrefix + m[1], true
}

// named finds an adapter by its name, or by the one OpenAI's clients use.
func (c *Catalog) named(name string) (noted, bool, error) {
	whole, step, atStep := strings.Cut(name, stepMark)
	m := madeBy.FindStringSubmatch(whole)
	if m == nil {
		return c.adapter(name)
	}
	job := jobPrefix + m[1]
	if atStep {
		return c.step(whole, job, step)
	}
	all, err := c.published()
	if err != nil {
		return noted{}, false, err
	}
	for _, n := range all {
		if n.Job == job && strings.EqualFold(n.alias(), name) {
			return n, true, nil
		}
	}
	return noted{}, false, nil
}

// step finds what a job kept of a step.
func (c *Catalog) step(whole, job, step string) (noted, bool, error) {
	number, err := strconv.Atoi(step)
	if err != nil || c.options.Jobs == "" || strconv.Itoa(number) != step {
		return noted{}, false, nil
	}
	dir := filepath.Join(c.steps(job), step)
	if _, err := os.Stat(dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return noted{}, false, err
	}
	n, ok := c.read(dir)
	if !ok || n.problem == "" && !strings.EqualFold(FineTuned(n.Base, n.note.Name, job), whole) {
		return noted{}, false, nil
	}
	return n, true, nil
}
