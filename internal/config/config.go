// Package config is the file under configs/: one struct per room, defaults
// first, then the file, then the environment (AFINA_…), then flags. Unknown keys
// are errors.
package config

import (
	"net"
	"strconv"
	"time"

	"afina/internal/data"
	"afina/internal/engine"
	"afina/internal/fault"
	"afina/internal/finetune"
	"afina/internal/form"
)

// Config is the whole file. configs/default.yaml documents every key.
type Config struct {
	Listen  string  `yaml:"listen"`
	Models  string  `yaml:"models" validate:"required"`
	Data    string  `yaml:"data" validate:"required"`
	Threads int     `yaml:"threads" validate:"min=0,max=1024"` // 0: all cores
	Kernel  string  `yaml:"kernel" validate:"omitempty,oneof=generic avx2 avx512 amx"`
	Log     Log     `yaml:"log"`
	HTTP    HTTP    `yaml:"http"`
	Serve   Serve   `yaml:"serve"`
	Jobs    Jobs    `yaml:"jobs"`
	Dataset Dataset `yaml:"dataset"`

	Train finetune.Spec `yaml:"train"`
}

// Log is how the server logs.
type Log struct {
	Level string `yaml:"level" validate:"oneof=debug info warn error"`
}

// HTTP are the limits of the doors.
type HTTP struct {
	APIKeys         []string      `yaml:"api_keys" validate:"max=100,dive,min=16,max=256"`
	Hosts           []string      `yaml:"hosts" validate:"max=100,dive,required"` // names beside localhost, when bound to it
	MaxBody         int64         `yaml:"max_body_bytes" validate:"min=1024,max=1073741824"`
	Timeout         time.Duration `yaml:"timeout" validate:"min=1s,max=1h"`           // of routes that neither generate nor take an upload
	GenerateTimeout time.Duration `yaml:"generate_timeout" validate:"min=1s,max=24h"` // of one answer
	DrainTimeout    time.Duration `yaml:"drain_timeout" validate:"min=0s,max=1h"`
}

// Serve are the defaults of answering.
type Serve struct {
	Precision     string  `yaml:"precision" validate:"oneof=fast exact"`
	Slots         int     `yaml:"slots" validate:"min=1,max=256"`
	Context       int     `yaml:"context" validate:"min=16,max=1048576"`
	Queue         int     `yaml:"queue" validate:"min=1,max=100000"`
	PromptChunk   int     `yaml:"prompt_chunk" validate:"min=1,max=8192"`
	CacheBytes    int64   `yaml:"cache_bytes" validate:"min=1048576"` // of keys and values, per base
	Lookup        int     `yaml:"lookup" validate:"min=0,max=32"`
	MaxTokens     int     `yaml:"max_tokens" validate:"min=0,max=1048576"` // 0: as many as the context holds
	Temperature   float32 `yaml:"temperature" validate:"gte=0,lte=2"`
	TopP          float32 `yaml:"top_p" validate:"gt=0,lte=1"`
	TopK          int     `yaml:"top_k" validate:"min=0"`
	MinP          float32 `yaml:"min_p" validate:"gte=0,lte=1"`
	RepeatPenalty float32 `yaml:"repeat_penalty" validate:"gt=0,lte=2"`
}

// Jobs size the job queue.
type Jobs struct {
	Workers     int           `yaml:"workers" validate:"min=1,max=64"`
	Slice       time.Duration `yaml:"slice" validate:"min=1s,max=24h"`
	MaxQueued   int           `yaml:"max_queued" validate:"min=1,max=100000"`
	Attempts    int           `yaml:"attempts" validate:"min=1,max=100"`
	MemoryLimit int64         `yaml:"memory_limit_bytes" validate:"min=0"` // 0: what the machine has
}

// Dataset are the limits of uploads.
type Dataset struct {
	MaxBytes         int64 `yaml:"max_bytes" validate:"min=1024"`
	MaxLineBytes     int   `yaml:"max_line_bytes" validate:"min=1024"`
	MaxConversations int   `yaml:"max_conversations" validate:"min=1"`
	MaxMessages      int   `yaml:"max_messages" validate:"min=2"`
	MaxDepth         int   `yaml:"max_depth" validate:"min=8,max=1000"`
}

// Default returns the configuration of an empty file.
func Default() Config {
	e, l := engine.Defaults(), data.DefaultLimits()
	return Config{
		Listen: "127.0.0.1:8080",
		Models: "models",
		Data:   "checkpoints",
		Log:    Log{Level: "info"},
		HTTP: HTTP{
			MaxBody: 4 << 20, Timeout: 30 * time.Second,
			GenerateTimeout: 10 * time.Minute, DrainTimeout: 30 * time.Second,
		},
		Serve: Serve{
			Precision: "fast", Slots: e.Slots, Context: e.Context, Queue: e.Queue, PromptChunk: e.Chunk,
			CacheBytes: e.Memory, Lookup: e.Lookup,
			MaxTokens: 1024, Temperature: 0.3, TopP: 0.9, RepeatPenalty: 1,
		},
		Jobs: Jobs{Workers: 1, Slice: 10 * time.Minute, MaxQueued: 100, Attempts: 3},
		Dataset: Dataset{
			MaxBytes: l.Bytes, MaxLineBytes: l.LineBytes,
			MaxConversations: l.Conversations, MaxMessages: l.Messages, MaxDepth: l.Depth,
		},
		Train: finetune.Defaults(),
	}
}

// Check names the key that is wrong, and the remedy. A public address without
// API keys is refused.
func (c Config) Check() error {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return wrong("listen", "listen is %q: it must be an address and a port, such as 127.0.0.1:8080", c.Listen)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return wrong("listen", "listen is %q: its port must be a number from 0 to 65535", c.Listen)
	}
	if err := form.NewRules("yaml").Check(&c, "", "Train.Model", "Train.Dataset"); err != nil {
		return err
	}
	for i, key := range c.HTTP.APIKeys {
		for _, r := range key {
			if r <= ' ' || r > '~' {
				return wrong("http.api_keys", "http.api_keys[%d] holds a space or a character outside ASCII; such a key cannot be sent in a header", i)
			}
		}
	}
	if !Loopback(host) && len(c.HTTP.APIKeys) == 0 {
		return wrong("http.api_keys", "listen is %q, which others can reach, but http.api_keys is empty: set http.api_keys (or AFINA_HTTP__API_KEYS) to a key of at least 16 characters, or listen on 127.0.0.1", c.Listen)
	}
	return nil
}

// Loopback reports whether only this machine can reach a server bound to host.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func wrong(key, format string, args ...any) error {
	return fault.New(fault.Invalid, format, args...).WithCode("invalid_configuration").WithParam(key)
}
