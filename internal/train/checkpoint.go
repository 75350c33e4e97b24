package train

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"afina/internal/fault"
)

// A checkpoint is a safetensors file: values, moments and best values of every
// parameter, and in its metadata the state, the identity of the run and the
// SHA-256 of the file, taken with zeros in its own place.
//
// It is one file, so that it is of one moment. It is written beside the old one
// and put in its place by renaming; the one before is kept, in case the newer
// turns out damaged.
const (
	lastName     = "last.ckpt"
	previousName = "previous.ckpt"
	format       = "afina checkpoint 1"
	hashKey      = `"sha256":"`
)

var noHash = strings.Repeat("0", sha256.Size*2)

// tensor is a named slice that is written or read.
type tensor struct {
	name   string
	values []float32
}

// files are the checkpoints of one run.
type files struct {
	dir      string
	identity string
}

// entry is a tensor in the header of a safetensors file.
type entry struct {
	DType   string `json:"dtype"`
	Shape   []int  `json:"shape"`
	Offsets [2]int `json:"data_offsets"`
}

// metadata is a checkpoint's __metadata__.
type metadata struct {
	Format   string `json:"format"`
	Identity string `json:"identity"`
	State    string `json:"state"` // JSON
	SHA256   string `json:"sha256"`
}

// tensors are the numbers of a checkpoint, in the order in which they lie in it.
func (l *loop) tensors(best [][]float32) []tensor {
	var all []tensor
	for i, p := range l.params {
		all = append(all, tensor{p.Name, p.Value}, tensor{p.Name + ".m", l.adam.M[i]}, tensor{p.Name + ".v", l.adam.V[i]})
		if best != nil {
			all = append(all, tensor{p.Name + ".best", best[i]})
		}
	}
	return all
}

// save writes a checkpoint of where the run is.
func (l *loop) save() error {
	if err := l.files.save(l.state, l.tensors(l.best)); err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			return fault.New(fault.NoSpace, "there is no space on disk for the checkpoint of step %d; free some and the run goes on from the one before", l.state.Step).WithCode("storage_error")
		}
		return fmt.Errorf("save the checkpoint of step %d: %w", l.state.Step, err)
	}
	return nil
}

// save writes a new last checkpoint and keeps the old one as the previous.
func (f files) save(s state, tensors []tensor) error {
	if err := os.MkdirAll(f.dir, 0o750); err != nil {
		return err
	}
	last := filepath.Join(f.dir, lastName)
	temporary := last + ".tmp"
	if err := f.write(temporary, s, tensors); err != nil {
		os.Remove(temporary)
		return err
	}
	if err := os.Rename(last, filepath.Join(f.dir, previousName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(temporary, last); err != nil {
		return err
	}
	return syncDir(f.dir)
}

func (f files) write(path string, s state, tensors []tensor) (err error) {
	status, err := json.Marshal(s)
	if err != nil {
		return err
	}
	head, err := header(metadata{Format: format, Identity: f.identity, State: string(status), SHA256: noHash}, tensors)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(file, sum), 1<<16)
	if _, err := w.Write(head); err != nil {
		return err
	}
	for _, t := range tensors {
		if err := writeFloats(w, t.values); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	at := bytes.Index(head, []byte(hashKey)) + len(hashKey)
	if _, err := file.WriteAt([]byte(hex.EncodeToString(sum.Sum(nil))), int64(at)); err != nil {
		return err
	}
	return file.Sync()
}

// header is the head of the file.
func header(m metadata, tensors []tensor) ([]byte, error) {
	meta, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"__metadata__":%s`, meta)
	at := 0
	for _, t := range tensors {
		end := at + 4*len(t.values)
		e, err := json.Marshal(entry{DType: "F32", Shape: []int{len(t.values)}, Offsets: [2]int{at, end}})
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, `,%q:%s`, t.name, e)
		at = end
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	return append(binary.LittleEndian.AppendUint64(nil, uint64(b.Len())), b.Bytes()...), nil
}

// errDamaged is a checkpoint that is not what was written.
var errDamaged = errors.New("the checkpoint is damaged")

// load reads the last checkpoint, or the one before when that is damaged, into s
// and tensors. A folder without any leaves them as they are.
func (f files) load(s *state, tensors []tensor) (found bool, err error) {
	damaged := false
	for _, name := range []string{lastName, previousName} {
		switch err := f.read(filepath.Join(f.dir, name), s, tensors); {
		case err == nil:
			return true, nil
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, errDamaged):
			damaged = true
		default:
			return false, fmt.Errorf("read the checkpoint: %w", err)
		}
	}
	if damaged {
		return false, fault.New(fault.Unprocessable, "every checkpoint of this run is damaged; start it anew").WithCode("checkpoint_corrupt")
	}
	return false, nil
}

// read checks the whole file before it changes anything.
func (f files) read(path string, s *state, tensors []tensor) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	head, meta, err := verify(file)
	if err != nil {
		return err
	}
	if meta.Identity != f.identity {
		return mismatch(path, meta.Identity, f.identity)
	}
	var kept state
	if err := json.Unmarshal([]byte(meta.State), &kept); err != nil {
		return fmt.Errorf("%w: %v", errDamaged, err)
	}
	if kept.BestStep == 0 {
		tensors = withoutBest(tensors)
	}
	// The header says where each number lies: it must be the one we would write.
	meta.SHA256 = noHash
	want, err := header(meta, tensors)
	if err != nil {
		return err
	}
	if !bytes.Equal(head, want) {
		return mismatch(path, "another adapter", "this one")
	}
	if _, err := file.Seek(int64(len(head)), io.SeekStart); err != nil {
		return err
	}
	r := bufio.NewReaderSize(file, 1<<16)
	for _, t := range tensors {
		if err := readFloats(r, t.values); err != nil {
			return err
		}
	}
	*s = kept
	return nil
}

// verify reads all of the file, compares its hash and returns its head, with
// zeros for the hash, and what its metadata says.
func verify(file *os.File) (head []byte, meta metadata, err error) {
	info, err := file.Stat()
	if err != nil {
		return nil, meta, err
	}
	var size [8]byte
	if _, err := io.ReadFull(file, size[:]); err != nil {
		return nil, meta, fmt.Errorf("%w: %v", errDamaged, err)
	}
	n := binary.LittleEndian.Uint64(size[:])
	if n > uint64(info.Size()-8) {
		return nil, meta, errDamaged
	}
	head = append(size[:], make([]byte, n)...)
	if _, err := io.ReadFull(file, head[8:]); err != nil {
		return nil, meta, fmt.Errorf("%w: %v", errDamaged, err)
	}
	var parsed struct {
		Metadata metadata `json:"__metadata__"`
	}
	if err := json.Unmarshal(head[8:], &parsed); err != nil {
		return nil, meta, fmt.Errorf("%w: %v", errDamaged, err)
	}
	meta = parsed.Metadata
	at := bytes.Index(head, []byte(hashKey))
	if meta.Format != format || at < 0 || len(meta.SHA256) != len(noHash) {
		return nil, meta, errDamaged
	}
	copy(head[at+len(hashKey):], noHash)
	sum := sha256.New()
	sum.Write(head)
	if _, err := io.Copy(sum, file); err != nil {
		return nil, meta, err
	}
	if hex.EncodeToString(sum.Sum(nil)) != meta.SHA256 {
		return nil, meta, errDamaged
	}
	return head, meta, nil
}

func withoutBest(tensors []tensor) []tensor {
	var kept []tensor
	for _, t := range tensors {
		if !strings.HasSuffix(t.name, ".best") {
			kept = append(kept, t)
		}
	}
	return kept
}

func writeFloats(w io.Writer, x []float32) error {
	var chunk [4096]byte
	for len(x) > 0 {
		n := min(len(x), len(chunk)/4)
		for i, v := range x[:n] {
			binary.LittleEndian.PutUint32(chunk[4*i:], math.Float32bits(v))
		}
		if _, err := w.Write(chunk[:4*n]); err != nil {
			return err
		}
		x = x[n:]
	}
	return nil
}

func readFloats(r io.Reader, x []float32) error {
	var chunk [4096]byte
	for len(x) > 0 {
		n := min(len(x), len(chunk)/4)
		if _, err := io.ReadFull(r, chunk[:4*n]); err != nil {
			return err
		}
		for i := range x[:n] {
			x[i] = math.Float32frombits(binary.LittleEndian.Uint32(chunk[4*i:]))
		}
		x = x[n:]
	}
	return nil
}

// syncDir makes renames in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
