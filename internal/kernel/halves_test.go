package kernel_test

import (
	"fmt"
	"testing"

	"afina/internal/kernel"
)

// TestHalves compares the tiles over float16 with plain Go at every height.
func TestHalves(t *testing.T) {
	for _, level := range kernel.Available() {
		t.Run(fmt.Sprint(level), func(t *testing.T) {
			if err := kernel.CompareHalves(level); err != nil {
				t.Error(err)
			}
		})
	}
}
