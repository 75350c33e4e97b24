package contract

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"strconv"

	"github.com/getkin/kin-openapi/openapi3"
)

// fits checks a form with files against its schema: its fields, and the values
// of those that are no files.
func fits(schema *openapi3.Schema, body []byte, boundary string) error {
	given := map[string]any{}
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		text, err := io.ReadAll(part)
		if err != nil {
			return err
		}
		name := part.FormName()
		if _, twice := given[name]; twice {
			return fmt.Errorf("the form has %q twice", name)
		}
		given[name] = string(text)
		if property := schema.Properties[name]; property != nil {
			given[name] = value(property.Value, string(text))
		}
	}
	return schema.VisitJSON(given, openapi3.MultiErrors())
}

// value is the text of a field as the type of its schema.
func value(s *openapi3.Schema, text string) any {
	switch {
	case s.Format == "binary":
		return "" // what is in a file is not the schema's business
	case s.Type.Is("integer"), s.Type.Is("number"):
		if n, err := strconv.ParseFloat(text, 64); err == nil {
			return n
		}
	case s.Type.Is("boolean"):
		if b, err := strconv.ParseBool(text); err == nil {
			return b
		}
	}
	return text
}
