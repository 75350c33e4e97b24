package jobs

// Explain is err as the caller of a job may see it: those of other queues, too.
func Explain(err error) Failure { return explain(err) }
