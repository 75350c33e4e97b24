// Package dashboard is the web page, embedded. It speaks to the API only.
//
// The page is one document: style, chart library and script are put into it
// when the server starts, so that it asks no other address for anything. Its
// content security policy names exactly those texts by their hash.
package dashboard

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"strings"
)

//go:embed page.html
var page []byte

//go:embed page.css
var style []byte

//go:embed page.js
var script []byte

// The chart library uPlot 1.6.32 (MIT, licence beside it), as published.
var (
	//go:embed uplot/uPlot.iife.min.js
	chart []byte
	//go:embed uplot/uPlot.min.css
	chartStyle []byte
)

// Page is the dashboard, ready to be served.
type Page struct {
	HTML   []byte
	Policy string // Content-Security-Policy
}

// New puts the page together.
func New() Page {
	var styles, scripts []string
	html := page
	for _, p := range []struct {
		mark   string // the line of page.html that the text replaces
		tag    string
		text   []byte
		hashes *[]string
	}{
		{"<!-- chart style -->", "style", chartStyle, &styles},
		{"<!-- style -->", "style", style, &styles},
		{"<!-- chart -->", "script", chart, &scripts},
		{"<!-- script -->", `script type="module"`, script, &scripts},
	} {
		if bytes.Count(html, []byte(p.mark)) != 1 {
			panic(fmt.Sprintf("dashboard: page.html must hold %q once", p.mark))
		}
		name, _, _ := strings.Cut(p.tag, " ")
		whole := fmt.Sprintf("<%s>%s</%s>", p.tag, p.text, name)
		html = bytes.Replace(html, []byte(p.mark), []byte(whole), 1)
		sum := sha256.Sum256(p.text)
		*p.hashes = append(*p.hashes, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	return Page{html, strings.Join([]string{
		"default-src 'none'", "script-src " + strings.Join(scripts, " "), "style-src " + strings.Join(styles, " "),
		"connect-src 'self'", "img-src data:", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
	}, "; ")}
}
