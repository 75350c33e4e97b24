// Package api holds the contract of the HTTP API, embedded.
package api

import _ "embed"

// Contract is openapi.yaml.
//
//go:embed openapi.yaml
var Contract []byte
