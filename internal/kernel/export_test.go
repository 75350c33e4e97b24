package kernel

// What the tests see beyond the exported surface.

// Available are the levels of this machine.
var Available = available

// Peak is a loop of n rounds of Ops operations.
type Peak struct {
	Loop func(n int)
	Ops  float64
}
