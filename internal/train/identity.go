package train

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"afina/internal/chat"
	"afina/internal/fault"
	"afina/internal/graph"
)

// identify says in lines which run a checkpoint is of: what must be equal for
// its numbers to mean anything here. The adapter is told by its values before
// the first step.
func identify(g *graph.Graph, seqs, held []chat.Sequence, o Options) (string, error) {
	options, err := json.Marshal(o)
	if err != nil {
		return "", err
	}
	start := sha256.New()
	for _, p := range g.Params() {
		fmt.Fprintf(start, "%s %d\n", p.Name, len(p.Value))
		hashFloats(start, p.Value)
	}
	return strings.Join([]string{
		"model: " + g.Identity(),
		"options: " + string(options),
		fmt.Sprintf("start: %x", start.Sum(nil)),
		fmt.Sprintf("data: %x", hashSequences(seqs)),
		fmt.Sprintf("held-out data: %x", hashSequences(held)),
	}, "\n"), nil
}

// mismatch says which line of a checkpoint's identity differs.
func mismatch(path, got, want string) error {
	what := "adapter"
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			what, _, _ = strings.Cut(w[i], ":")
			break
		}
	}
	return fault.New(fault.Conflict, "the checkpoint %s is of another run: its %s differs; use another folder or delete it", filepath.Base(path), what).WithCode("checkpoint_mismatch")
}

func hashSequences(all []chat.Sequence) []byte {
	sum := sha256.New()
	var buffer []byte
	for _, s := range all {
		buffer = binary.LittleEndian.AppendUint64(buffer[:0], uint64(len(s.Tokens)))
		for i, t := range s.Tokens {
			buffer = binary.LittleEndian.AppendUint32(buffer, uint32(t))
			if s.Learn[i] {
				buffer = append(buffer, 1)
			} else {
				buffer = append(buffer, 0)
			}
		}
		sum.Write(buffer)
	}
	return sum.Sum(nil)
}

func hashFloats(sum hash.Hash, x []float32) {
	var buffer []byte
	for part := range slices.Chunk(x, 4096) {
		buffer = buffer[:0]
		for _, v := range part {
			buffer = binary.LittleEndian.AppendUint32(buffer, math.Float32bits(v))
		}
		sum.Write(buffer)
	}
}
