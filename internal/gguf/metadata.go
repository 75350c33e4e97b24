package gguf

import "math"

// Metadata is the key-value section. Values are uint64, int64, float64 (for any
// integer or float width), bool, string, or slices of those.
type Metadata map[string]any

func get[T any](m Metadata, key string) (T, bool) { v, ok := m[key].(T); return v, ok }

// String returns the value of a string key.
func (m Metadata) String(key string) (string, bool) { return get[string](m, key) }

// Int returns the value of an integer key of any width, when it fits an int.
func (m Metadata) Int(key string) (int, bool) {
	switch v := m[key].(type) {
	case uint64:
		return int(v), v <= math.MaxInt
	case int64:
		return int(v), int64(int(v)) == v
	}
	return 0, false
}

// Float returns the value of a float key.
func (m Metadata) Float(key string) (float64, bool) { return get[float64](m, key) }

// Bool returns the value of a bool key.
func (m Metadata) Bool(key string) (bool, bool) { return get[bool](m, key) }

// Strings returns the value of an array of strings.
func (m Metadata) Strings(key string) ([]string, bool) { return get[[]string](m, key) }
