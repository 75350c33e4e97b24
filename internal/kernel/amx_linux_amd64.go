//go:build !purego

package kernel

import (
	"sync"
	"syscall"

	"golang.org/x/sys/cpu"
)

// tilesAllowed reports whether this CPU multiplies tiles of bfloat16 and Linux lets
// this process do so. It has to be asked, as the state of a thread grows by 8 KiB
// (Linux kernel documentation, "Using XSTATE features in user space applications").
var tilesAllowed = sync.OnceValue(func() bool {
	if !cpu.X86.HasAMXTile || !cpu.X86.HasAMXBF16 {
		return false
	}
	const (
		requestPermission = 0x1023 // ARCH_REQ_XCOMP_PERM
		tileData          = 18     // XFEATURE_XTILEDATA
	)
	_, _, errno := syscall.RawSyscall(syscall.SYS_ARCH_PRCTL, requestPermission, tileData, 0)
	return errno == 0
})
