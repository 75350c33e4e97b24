package kernel

import (
	"fmt"
	"math"
	"slices"
)

// lossBlock is how many logits one chunk of CrossEntropy holds.
const lossBlock = 1 << 14

// CrossEntropy sums -log softmax(logits)[target] over n rows and overwrites
// logits with the gradient softmax - onehot. right counts the rows whose target
// is the first of the largest logits.
//
//	logits is (n, vocab)
//
// Rows are cut into blocks of fixed size, so that a few rows of a large
// vocabulary still keep all cores busy; sums run in the order of the blocks.
func (g *Gang) CrossEntropy(logits []float32, n, vocab int, targets []int32) (sum float64, right int) {
	mustHold("logits of CrossEntropy", len(logits), n*vocab)
	mustHold("targets of CrossEntropy", len(targets), n)
	for i, t := range targets[:n] {
		if t < 0 || int(t) >= vocab {
			panic(fmt.Sprintf("kernel: target %d of row %d is not in a vocabulary of %d", t, i, vocab))
		}
	}
	k := g.rows()
	blocks := (vocab + lossBlock - 1) / lossBlock
	block := func(c int) []float32 {
		row, lo := c/blocks*vocab, c%blocks*lossBlock
		return logits[row+lo : row+min(vocab, lo+lossBlock)]
	}
	// Per block: its maximum and the sum of exp(x - maximum).
	tops, sums := make([]float32, n*blocks), make([]float64, n*blocks)
	g.span(n*blocks, 1, func(c, _ int) {
		b := block(c)
		tops[c] = k.maximum(b)
		sums[c] = k.sumExp(b, tops[c])
	})
	rowTop, scale := make([]float32, n), make([]float32, n)
	for i, t := range targets[:n] {
		top, total := joinBlocks(tops[i*blocks:(i+1)*blocks], sums[i*blocks:(i+1)*blocks])
		rowTop[i], scale[i] = top, float32(1/total)
		sum += float64(top) - float64(logits[i*vocab+int(t)]) + math.Log(total)
		if logits[i*vocab+int(t)] == top && !math.IsNaN(total) {
			lo := int(t) / lossBlock // blocks before the target's
			earlier := tops[i*blocks : i*blocks+lo]
			if part := logits[i*vocab+lo*lossBlock : i*vocab+int(t)]; len(part) > 0 {
				earlier = append([]float32{k.maximum(part)}, earlier...)
			}
			if !slices.Contains(earlier, top) {
				right++
			}
		}
	}
	g.span(n*blocks, 1, func(c, _ int) {
		k.expScale(block(c), rowTop[c/blocks], scale[c/blocks])
	})
	for i, t := range targets[:n] {
		logits[i*vocab+int(t)]--
	}
	return sum, right
}

// joinBlocks returns the maximum of a row and Σ exp(x - maximum), given both of
// each of its blocks.
func joinBlocks(tops []float32, sums []float64) (top float32, total float64) {
	top = tops[0]
	for _, t := range tops[1:] {
		top = max(top, t)
	}
	for i, s := range sums {
		if math.IsInf(float64(tops[i]), -1) && tops[i] != top {
			continue // a block of nothing but -Inf, whose sum is NaN
		}
		total += s * math.Exp(float64(tops[i])-float64(top))
	}
	return top, total
}

// maximumGeneric returns the largest of x, NaN if there is one.
func maximumGeneric(x []float32) float32 {
	top := float32(math.Inf(-1))
	for _, v := range x {
		top = max(top, v)
	}
	return top
}

// sumExpGeneric returns Σ exp(x - top).
func sumExpGeneric(x []float32, top float32) float64 {
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(float64(v) - float64(top))
	}
	return sum
}

// expScaleGeneric writes x = exp(x - top)·scale.
func expScaleGeneric(x []float32, top, scale float32) {
	for i, v := range x {
		x[i] = float32(math.Exp(float64(v)-float64(top))) * scale
	}
}
