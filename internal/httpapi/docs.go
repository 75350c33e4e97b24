package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"afina/api"
)

// The page at /docs is the contract, made readable: no script, no other address.
var (
	//go:embed docs.html
	docsPage string
	//go:embed docs.css
	docsStyle string
)

type docs struct {
	Title, Description string
	Style              template.CSS
	Groups             []docsGroup
	Types              []docsField
}

type docsGroup struct {
	Name, Description string
	Operations        []docsOperation
}

type docsOperation struct {
	ID, Method, Path, Summary, Description string
	Parameters                             []docsParameter
	Bodies                                 []docsBody
	Answers                                []docsAnswer
}

type docsParameter struct {
	Name, In, Type, Description string
	Required                    bool
}

type docsBody struct {
	Kind   string
	Schema docsSchema
}

type docsAnswer struct {
	Status, Description string
	Bodies              []docsBody
}

// docsSchema is a type: a reference to another, or a word and its fields.
type docsSchema struct {
	Ref, Type, Description string
	Fields                 []docsField
}

type docsField struct {
	Name     string
	Required bool
	Schema   docsSchema
}

// docs serves the page.
func (s *Server) docs(w http.ResponseWriter, _ *http.Request) {
	page, err := s.docsPage()
	if err != nil { // the contract is embedded and a test reads it
		panic(fmt.Sprintf("httpapi: the page of the API: %v", err))
	}
	sum := sha256.Sum256([]byte(docsStyle))
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	w.Header().Set("Referrer-Policy", "no-referrer")
	send(w, http.StatusOK, "text/html; charset=utf-8", page)
}

// writeDocs makes the page of the contract.
func writeDocs() ([]byte, error) {
	doc, err := openapi3.NewLoader().LoadFromData(api.Contract)
	if err != nil {
		return nil, err
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, err
	}
	d := docs{Title: doc.Info.Title, Description: doc.Info.Description, Style: template.CSS(docsStyle)}
	for _, tag := range doc.Tags {
		d.Groups = append(d.Groups, docsGroup{tag.Name, tag.Description, operations(doc, tag.Name)})
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Components.Schemas)) {
		schema := *doc.Components.Schemas[name]
		schema.Ref = ""
		d.Types = append(d.Types, docsField{Name: name, Schema: describe(&schema)})
	}
	page, err := template.New("docs").Parse(docsPage)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = page.Execute(&b, d)
	return b.Bytes(), err
}

// operations are those of a tag, by path.
func operations(doc *openapi3.T, tag string) (all []docsOperation) {
	for _, path := range slices.Sorted(maps.Keys(doc.Paths.Map())) {
		item := doc.Paths.Find(path)
		for _, method := range slices.Sorted(maps.Keys(item.Operations())) {
			op := item.Operations()[method]
			if !slices.Contains(op.Tags, tag) {
				continue
			}
			o := docsOperation{ID: op.OperationID, Method: method, Path: path, Summary: op.Summary, Description: op.Description}
			for _, p := range append(slices.Clone(item.Parameters), op.Parameters...) {
				v := p.Value
				o.Parameters = append(o.Parameters, docsParameter{v.Name, v.In, describe(v.Schema).Type, v.Description, v.Required})
			}
			if op.RequestBody != nil {
				o.Bodies = bodies(op.RequestBody.Value.Content)
			}
			for _, status := range slices.Sorted(maps.Keys(op.Responses.Map())) {
				r := op.Responses.Value(status).Value
				o.Answers = append(o.Answers, docsAnswer{status, *cmp.Or(r.Description, new(string)), bodies(r.Content)})
			}
			all = append(all, o)
		}
	}
	return all
}

func bodies(content openapi3.Content) (all []docsBody) {
	for _, kind := range slices.Sorted(maps.Keys(content)) {
		all = append(all, docsBody{kind, describe(content[kind].Schema)})
	}
	return all
}

// describe is a schema in words.
func describe(ref *openapi3.SchemaRef) docsSchema {
	if ref == nil || ref.Value == nil {
		return docsSchema{Type: "anything"}
	}
	v := ref.Value
	d := docsSchema{Type: words(v), Description: v.Description}
	if ref.Ref != "" {
		d.Ref = ref.Ref[strings.LastIndexByte(ref.Ref, '/')+1:]
		return d
	}
	for _, name := range slices.Sorted(maps.Keys(v.Properties)) {
		d.Fields = append(d.Fields, docsField{name, slices.Contains(v.Required, name), describe(v.Properties[name])})
	}
	if v.Items != nil {
		d.Fields = append(d.Fields, docsField{Schema: describe(v.Items)})
	}
	for _, part := range slices.Concat(v.AllOf, v.OneOf, v.AnyOf) {
		d.Fields = append(d.Fields, docsField{Schema: describe(part)})
	}
	return d
}

// words are a schema's type and bounds.
func words(v *openapi3.Schema) string {
	var w []string
	switch {
	case v.Type != nil:
		w = append(w, strings.Join(v.Type.Slice(), " or "))
	case len(v.OneOf) > 0:
		w = append(w, "one of")
	case len(v.AllOf) > 0:
		w = append(w, "all of")
	default:
		w = append(w, "anything")
	}
	if len(v.Enum) > 0 {
		w = append(w, fmt.Sprint(v.Enum))
	}
	if v.Min != nil {
		w = append(w, fmt.Sprintf("from %g", *v.Min))
	}
	if v.Max != nil {
		w = append(w, fmt.Sprintf("to %g", *v.Max))
	}
	if v.Nullable {
		w = append(w, "or null")
	}
	return strings.Join(w, " ")
}
