// Package config is the file under configs/: one struct per room, defaults
// first, then the file, then the environment (AFINA_…), then flags. Unknown keys
// are errors.
package config

import (
	"time"

	"afina/internal/finetune"
)

// Config is the whole file. configs/default.yaml documents every key.
type Config struct {
	Listen  string  `yaml:"listen"`
	Models  string  `yaml:"models"`
	Data    string  `yaml:"data"`
	Threads int     `yaml:"threads"` // 0: all cores
	Kernel  string  `yaml:"kernel"`  // "", "generic", "avx2", "avx512"
	Log     Log     `yaml:"log"`
	HTTP    HTTP    `yaml:"http"`
	Serve   Serve   `yaml:"serve"`
	Jobs    Jobs    `yaml:"jobs"`
	Dataset Dataset `yaml:"dataset"`

	Train finetune.Spec `yaml:"train"`
}

// Log is how the server logs.
type Log struct {
	Level string `yaml:"level"` // debug, info, warn, error
}

// HTTP are the limits of the doors.
type HTTP struct {
	APIKeys      []string      `yaml:"api_keys"`
	MaxBody      int64         `yaml:"max_body_bytes"`
	Timeout      time.Duration `yaml:"timeout"` // of routes that do not stream
	DrainTimeout time.Duration `yaml:"drain_timeout"`
}

// Serve are the defaults of answering.
type Serve struct {
	Precision     string  `yaml:"precision"`
	Slots         int     `yaml:"slots"`
	Context       int     `yaml:"context"`
	Queue         int     `yaml:"queue"`
	MaxTokens     int     `yaml:"max_tokens"`
	Temperature   float32 `yaml:"temperature"`
	TopP          float32 `yaml:"top_p"`
	TopK          int     `yaml:"top_k"`
	MinP          float32 `yaml:"min_p"`
	RepeatPenalty float32 `yaml:"repeat_penalty"`
}

// Jobs size the job queue.
type Jobs struct {
	Workers     int           `yaml:"workers"`
	Slice       time.Duration `yaml:"slice"`
	MaxQueued   int           `yaml:"max_queued"`
	MemoryLimit int64         `yaml:"memory_limit_bytes"`
}

// Dataset are the limits of uploads.
type Dataset struct {
	MaxBytes         int64 `yaml:"max_bytes"`
	MaxLineBytes     int   `yaml:"max_line_bytes"`
	MaxConversations int   `yaml:"max_conversations"`
	MaxMessages      int   `yaml:"max_messages"`
}

// Default returns the configuration of an empty file.
func Default() Config { panic("sketch") }

// Load reads defaults, then the file at path (none when empty), then the
// environment, and checks the whole.
func Load(path string, environ []string) (Config, error) { panic("sketch") }

// Check names the key that is wrong, and the remedy. A public address without
// API keys is refused.
func (c Config) Check() error { panic("sketch") }
