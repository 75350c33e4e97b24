package kernel

import (
	"fmt"
	"math"
	"slices"
)

// attends compares the loops of attention in bfloat16 with their plain-Go twins, on
// n strips of keys and of queries and heads of 32d numbers.
func (t *trial) attends(ours *attendLoops, n, d int) error {
	if ours == nil {
		return nil
	}
	twin := genericAttention()
	for _, compare := range []func(ours, twin *attendLoops, n, d int) error{t.lays, t.attend, t.attendBack, t.attendQueries} {
		if err := compare(ours, twin, n, d); err != nil {
			return fmt.Errorf("attention over %d strips of %d numbers: %w", n, 32*d, err)
		}
	}
	return nil
}

// lays compares the ways into tiles, the same bits.
func (t *trial) lays(ours, twin *attendLoops, _, d int) error {
	for _, cols := range []int{32*d - 16, 32 * d} {
		ldx := cols + 5
		x := t.float32s(31*ldx + cols)
		for i, lays := range [][2]func(cols int, x *float32, ldx int, dst *uint32){
			{ours.layRows, twin.layRows}, {ours.layRowsTurned, twin.layRowsTurned},
			{ours.layPairs, twin.layPairs}, {ours.layPairsTurned, twin.layPairsTurned},
		} {
			words := d * 512
			if i >= 2 {
				words = cols * narrow
			}
			got, want := t.pairs(words), make([]uint32, words)
			lays[0](cols, &x[0], ldx, &got[0])
			lays[1](cols, &x[0], ldx, &want[0])
			if !slices.Equal(got, want) {
				return fmt.Errorf("way %d of %d numbers into tiles: %w", i, cols, errTwins)
			}
		}
		y := t.float32s(31*ldx + cols)
		got, want := t.outputs(stripTokens)
		ours.roundedDots(stripTokens, cols, &x[0], &y[0], ldx, &got[0])
		twin.roundedDots(stripTokens, cols, &x[0], &y[0], ldx, &want[0])
		if err := near(got, want); err != nil {
			return fmt.Errorf("products of rows: %w", err)
		}
	}
	return nil
}

// sees makes what n·32 queries see of keys from number key on, some of them
// nothing and the last everything.
func (t *trial) sees(n, key, keys int) (from, to []int32) {
	from, to = cast[int32](t.alloc(4*n*stripTokens), n*stripTokens), cast[int32](t.alloc(4*n*stripTokens), n*stripTokens)
	for i := range from {
		from[i] = int32(key) + int32(t.next()%uint64(keys))/3
		to[i] = from[i] + int32(t.next()%uint64(keys))
	}
	from[len(from)-1], to[len(to)-1] = 0, int32(key+keys)
	return from, to
}

// trialScale keeps scores of made-up numbers around 1.
func trialScale(d int) float32 { return float32(math.Log2E / math.Sqrt(32*float64(d))) }

func (t *trial) attend(ours, twin *attendLoops, n, d int) error {
	const key = 64
	q, k, v := t.pairs(d*512), t.pairs(n*d*512), t.pairs(n*d*512)
	from, to := t.sees(1, key, n*stripTokens)
	work := t.float32s(attendWork)
	var keys, values []*uint32
	for i := range n { // anywhere
		keys, values = append(keys, &k[(n-1-i)*d*512]), append(values, &v[i*d*512])
	}
	for _, free := range [][2]int{{0, 0}, {0, n - 1}, {n / 2, n}} {
		got, want := t.outputs(1024 * d)
		logs, logsWant := t.outputs(stripTokens)
		ours.attend(n, free[0], free[1], d, &q[0], &keys[0], &values[0], &from[0], &to[0], key, trialScale(d), &work[0], &got[0], &logs[0], &wholeTiles[0])
		twin.attend(n, free[0], free[1], d, &q[0], &keys[0], &values[0], &from[0], &to[0], key, trialScale(d), &work[0], &want[0], &logsWant[0], &wholeTiles[0])
		few, fewLogs := t.float32s(1024*d), t.float32s(stripTokens)
		ours.few(n, free[0], free[1], d, &q[0], &keys[0], &values[0], &from[0], &to[0], key, trialScale(d), &work[0], &few[0], &fewLogs[0], &wholeTiles[0])
		for i := range 16 {
			for c := range 32 * d {
				if x, y := few[c*stripTokens+i], got[c*stripTokens+i]; x != y && (x == x || y == y) || fewLogs[i] != logs[i] {
					return fmt.Errorf("few queries give %v, many %v: %w", x, y, errTwins)
				}
			}
		}
		for i, w := range logsWant {
			if math.IsInf(float64(w), -1) && math.IsInf(float64(logs[i]), -1) {
				for c := range 32 * d { // who sees nothing has no result
					got[c*stripTokens+i], want[c*stripTokens+i] = 0, 0
				}
				logs[i], logsWant[i] = 0, 0
			}
		}
		if err := near(logs, logsWant); err != nil {
			return fmt.Errorf("logarithms of sums: %w", err)
		}
		if err := nearPairs(got, want); err != nil {
			return fmt.Errorf("forward: %w", err)
		}
	}
	return nil
}

func (t *trial) attendBack(ours, twin *attendLoops, n, d int) error {
	const key = 64
	k, v := t.pairs(d*512), t.pairs(d*512)
	q, dout, qp, dp := t.pairs(n*d*512), t.pairs(n*d*512), t.pairs(n*d*512), t.pairs(n*d*512)
	lse, delta := t.float32s(n*stripTokens), t.float32s(n*stripTokens)
	from, to := t.sees(n, key, stripTokens)
	work, step := t.float32s(2048+1024*n), 512*2+16
	for add, free := range [][2]int{{0, 0}, {n / 2, n}} {
		dk, dkWant := t.outputs(1024 * d)
		dv, dvWant := t.outputs(1024 * d)
		ds, dsWant := t.pairs((n-1)*step+512), make([]uint32, (n-1)*step+512)
		copy(dsWant, ds)
		ours.back(n, free[0], free[1], d, &k[0], &v[0], &q[0], &dout[0], &qp[0], &dp[0], &lse[0], &delta[0], &from[0], &to[0], key, trialScale(d), &work[0], &ds[0], step, &dk[0], &dv[0], add, &wholeTiles[0])
		twin.back(n, free[0], free[1], d, &k[0], &v[0], &q[0], &dout[0], &qp[0], &dp[0], &lse[0], &delta[0], &from[0], &to[0], key, trialScale(d), &work[0], &dsWant[0], step, &dkWant[0], &dvWant[0], add, &wholeTiles[0])
		for i, x := range [][2][]float32{{dk, dkWant}, {dv, dvWant}, {floatsOf(ds), floatsOf(dsWant)}} {
			if err := nearPairs(x[0], x[1]); err != nil {
				return fmt.Errorf("backward, %s: %w", []string{"dk", "dv", "ds"}[i], err)
			}
		}
	}
	return nil
}

func floatsOf(words []uint32) []float32 {
	x := make([]float32, 2*len(words))
	for i, w := range words {
		x[2*i], x[2*i+1] = unpair(w)
	}
	return x
}

func (t *trial) attendQueries(ours, twin *attendLoops, n, d int) error {
	k, ds := t.pairs(n*d*512), t.pairs(n*512)
	masked, maskedWant := t.pairs(512), make([]uint32, 512)
	ours.keepWords(32, &k[0], &ds[0], &masked[0])
	twin.keepWords(32, &k[0], &ds[0], &maskedWant[0])
	if !slices.Equal(masked, maskedWant) {
		return fmt.Errorf("words kept: %w", errTwins)
	}
	for add := range 2 {
		got, want := t.outputs(1024 * d)
		ours.queries(n, d, &k[0], &ds[0], &got[0], add, &wholeTiles[0])
		twin.queries(n, d, &k[0], &ds[0], &want[0], add, &wholeTiles[0])
		if err := near(got, want); err != nil {
			return fmt.Errorf("backward, dq: %w", err)
		}
	}
	return nil
}

// nearPairs reports results further apart than near allows or a weight explains
// that was rounded to bfloat16 the other way: 2⁻⁷ of the greatest result.
func nearPairs(got, want []float32) error {
	var top float64
	for _, v := range want {
		top = max(top, math.Abs(float64(v)))
	}
	for i := range want {
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= 0x1p-7*top) {
			return fmt.Errorf("%g where plain Go has %g: %w", got[i], want[i], errTwins)
		}
	}
	return nil
}
