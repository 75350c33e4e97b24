// Package httpapi is the front door: routes, wire types, validation, errors
// and streaming. It decides nothing; it asks the rooms behind it.
package httpapi
