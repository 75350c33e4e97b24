package main

import (
	"fmt"
	"os"
	"path/filepath"

	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/kernel"
	"afina/internal/model"
	"afina/internal/parallel"
	"afina/internal/quant"
)

// sequence is a row of a batch as both sides read it.
type sequence struct {
	Tokens []int32 `json:"tokens"`
	Learn  []bool  `json:"learn"`
}

// file is the path of the model in a format, made when it is not there.
func (b *bench) file(format string) (string, error) {
	dir := filepath.Join(b.scratch, "models")
	switch format {
	case "q4_0":
		to := variant(dir, b.model, quant.Q4_0)
		return to, requantize(b.model, to, quant.Q4_0)
	case "q8_0":
		to := variant(dir, b.model, quant.Q8_0)
		return to, requantize(b.model, to, quant.Q8_0)
	case "phi2":
		to := filepath.Join(dir, "phi2-random-q4_0.gguf")
		return to, writePhi2(b.model, to)
	}
	return b.model, nil
}

// laid are the conversations of the dataset as tokens of the model.
func (b *bench) laid() ([]chat.Sequence, error) {
	f, err := os.Open(b.dataset)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := data.ReadAll(f, data.DefaultLimits())
	if err != nil {
		return nil, err
	}
	pool := parallel.New(0)
	defer pool.Close()
	gang, err := kernel.NewGang(pool, "")
	if err != nil {
		return nil, err
	}
	m, err := model.Open(b.model, gang)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	index := make([]int, len(all))
	for i := range index {
		index[i] = i
	}
	l, err := data.Lay(m, all, index, 0)
	if err != nil {
		return nil, err
	}
	return l.Sequences, nil
}

// packed writes batches of n rows of width tokens: the dataset's conversations
// end to end, cut where a row ends, with a loss on what the assistant wrote, as
// trainers that pack do. It returns the file.
func (b *bench) packed(n, width, batches int) (string, error) {
	laid, err := b.laid()
	if err != nil {
		return "", err
	}
	var flow sequence
	for i := 0; len(flow.Tokens) < batches*n*width; i++ {
		s := laid[i%len(laid)]
		flow.Tokens = append(flow.Tokens, s.Tokens...)
		flow.Learn = append(flow.Learn, s.Learn...)
	}
	out := make([][]sequence, batches)
	for i := range batches * n {
		row := sequence{flow.Tokens[i*width : (i+1)*width], flow.Learn[i*width : (i+1)*width]}
		row.Learn[width-1] = true // what follows the last learned token is no work; leave nothing
		out[i/n] = append(out[i/n], row)
	}
	path := filepath.Join(b.scratch, fmt.Sprintf("packed-%dx%dx%d.json", batches, n, width))
	return path, writeJSON(path, out)
}

// conversations writes batches of n conversations of the dataset, picked at even
// steps from the first to the last, as long as each comes. It returns the file.
func (b *bench) conversations(n, batches int) (string, error) {
	laid, err := b.laid()
	if err != nil {
		return "", err
	}
	if len(laid) < n*batches {
		return "", fmt.Errorf("%s has only %d conversations", b.dataset, len(laid))
	}
	out := make([][]sequence, batches)
	for i := range n * batches {
		s := laid[i*len(laid)/(n*batches)]
		out[i/n] = append(out[i/n], sequence{s.Tokens, s.Learn})
	}
	path := filepath.Join(b.scratch, fmt.Sprintf("conversations-%dx%d.json", batches, n))
	return path, writeJSON(path, out)
}
