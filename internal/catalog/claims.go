package catalog

import (
	"context"
	"encoding/json"
	"fmt"

	"afina/internal/data"
	"afina/internal/fault"
	"afina/internal/lint"
	"afina/internal/store"
)

// judge writes into the row what was found in its answers. With strict, wrong
// mathematics is a refusal.
func judge(ctx context.Context, l *lint.Linter, row *store.Dataset, strict bool) error {
	report, err := l.Report(ctx)
	if err != nil {
		return err
	}
	if n := report.False + report.Malformed; strict && n > 0 {
		return wrong(report, n)
	}
	if row.Math, err = json.Marshal(report.Counts); err != nil {
		return fmt.Errorf("store a dataset: %w", err)
	}
	return nil
}

// wrong is the refusal of a dataset with n wrong claims.
func wrong(r lint.Report, n int) error {
	problems := make([]data.Problem, len(r.Findings))
	for i, f := range r.Findings {
		message := fmt.Sprintf("%q is %s: %s", f.Text, f.Word(), f.Reason)
		if f.Correction != "" {
			message += " Correction: " + f.Correction
		}
		problems[i] = data.Problem{
			Conversation: f.Conversation, Code: f.Word() + "_mathematics", Message: message,
			Path: fmt.Sprintf("[%d].messages[%d].content", f.Conversation, f.Message),
		}
	}
	more := ""
	if n > 1 {
		more = fmt.Sprintf(" (and %d more)", n-1)
	}
	return fault.New(fault.Unprocessable, "the mathematics of the dataset is wrong: %s%s; correct it, or upload without strict",
		r.Findings[0], more).WithCode("wrong_mathematics").WithParam("file").WithDetails(problems)
}

// mathOf reads the counts of a row; nil when there are none.
func mathOf(row store.Dataset) *lint.Counts {
	var c lint.Counts
	if len(row.Math) == 0 || json.Unmarshal(row.Math, &c) != nil {
		return nil
	}
	return &c
}
