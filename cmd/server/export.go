package main

import (
	"fmt"
	"os"
	"path/filepath"

	"afina/internal/catalog"
	"afina/internal/config"
	"afina/internal/fault"
)

// exportCmd copies an adapter out of the data folder.
type exportCmd struct {
	Name   string `arg:"" help:"Name of the adapter."`
	To     string `help:"Where to: a folder for PEFT, a file for GGUF (default: the adapter's name here)." placeholder:"PATH"`
	Format string `help:"peft (adapter_config.json and adapter_model.safetensors) or gguf (a LoRA file for llama.cpp)." enum:"peft,gguf" default:"peft"`
}

// Run copies the files of the format. Nothing that exists is overwritten.
func (c exportCmd) Run(cfg config.Config) error {
	shelf, err := catalog.New(catalog.Options{Models: cfg.Models, Data: cfg.Data}, nil, nil)
	if err != nil {
		return err
	}
	dir, err := shelf.AdapterDir(c.Name)
	if err != nil {
		return err
	}
	to := c.To
	if c.Format == "gguf" {
		if to == "" {
			to = c.Name + ".lora.gguf"
		}
		if err := copyNew(filepath.Join(dir, "adapter.gguf"), to); err != nil {
			return err
		}
		fmt.Println(to)
		return nil
	}
	if to == "" {
		to = c.Name
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"adapter_config.json", "adapter_model.safetensors"} {
		if err := copyNew(filepath.Join(dir, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	fmt.Println(to)
	return nil
}

// copyNew copies a file to a path where none is.
func copyNew(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if os.IsExist(err) {
		return fault.New(fault.Conflict, "%s exists already; name another place with --to", to)
	}
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
