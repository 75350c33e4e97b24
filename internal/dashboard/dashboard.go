// Package dashboard is the web page, embedded. It speaks to the API only.
package dashboard
