package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// machineMemory is the memory of the machine as people read it, as far as the
// system tells.
func machineMemory() string {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return "an unknown amount"
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var kib int64
		if _, err := fmt.Sscanf(s.Text(), "MemTotal: %d kB", &kib); err == nil && strings.HasPrefix(s.Text(), "MemTotal:") {
			return fmt.Sprintf("%.1f GiB", float64(kib)/(1<<20))
		}
	}
	return "an unknown amount"
}
