package tuning

import (
	"testing"

	"afina/internal/contract"
)

// TestWireTypes: what goes over the wire is written down twice, in the contract
// and in types; they do not differ.
func TestWireTypes(t *testing.T) {
	contract.Asked(t, "FineTuningJobRequest", createRequest{})
	contract.Asked(t, "Hyperparameters", hyperparameters{})
	contract.Told(t, "FineTuningJob", jobObject{})
	contract.Told(t, "FineTuningEvent", eventObject{})
	contract.Told(t, "StepMetrics", metricsObject{})
	contract.Told(t, "FineTuningCheckpoint", checkpointObject{})
	contract.Told(t, "File", fileObject{})
}
