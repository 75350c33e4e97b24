//go:build !amd64 || purego

package kernel

// rows returns the loops of g's level: this build has one.
func (g *Gang) rows() rowKernels { return genericRows() }

// attentionFast reports that this build has no attention in tiles.
func (g *Gang) attentionFast(out, lse, q, k, v []float32, first []int32, h Heads) bool { return false }

// attentionBackFast reports that this build has no attention in tiles.
func (g *Gang) attentionBackFast(dq, dk, dv, dout, out, lse, q, k, v []float32, first []int32, h Heads) bool {
	return false
}

// cachedFast reports that this build has no attention in tiles.
func (g *Gang) cachedFast(out, q []float32, lanes []Lane, h Heads) bool { return false }
