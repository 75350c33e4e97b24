//go:build !race

package data_test

import (
	"runtime"
	"strings"
	"testing"

	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/fault"
)

// TestReadStreams reads 64 MiB in the memory of one conversation.
func TestReadStreams(t *testing.T) {
	var before, after runtime.MemStats
	peak := uint64(0)
	runtime.GC()
	runtime.ReadMemStats(&before)
	n := 0
	line := `{"messages":[{"role":"user","content":"` + strings.Repeat("¿Cuánto es? ", 4000) + `"},` + bot + "]}\n"
	err := data.Read(&endless{line: []byte(line), left: 64 << 20 / len(line) * len(line)}, data.DefaultLimits(), func(chat.Conversation) error {
		if n++; n%200 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&after)
			peak = max(peak, after.HeapAlloc)
		}
		return nil
	})
	if err != nil || n == 0 {
		t.Fatal(n, err)
	}
	if grew := int64(peak) - int64(before.HeapAlloc); grew > 4<<20 {
		t.Errorf("the heap grew by %d bytes", grew)
	}
	err = data.Read(&endless{line: []byte("{\"messages\":\"" + strings.Repeat("a", 1<<20)), left: 32 << 20}, data.DefaultLimits(), nil)
	if fault.KindOf(err) != fault.Unprocessable {
		t.Error(err)
	}
}
