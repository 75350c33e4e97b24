package kernel

// What the tests see beyond the exported surface.

// Available are the levels of this machine.
var Available = available
