package form

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/go-playground/validator/v10"
)

// Rules checks structs by their `validate` tags. It is safe for concurrent use.
type Rules struct{ v *validator.Validate }

var adapterName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// NewRules returns rules that call fields by their name in the given struct tag:
// "json" or "yaml".
func NewRules(tag string) *Rules {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string {
		name, _, _ := strings.Cut(f.Tag.Get(tag), ",")
		return name
	})
	err := v.RegisterValidation("adapter_name", func(l validator.FieldLevel) bool {
		return adapterName.MatchString(l.Field().String())
	})
	if err != nil {
		panic(fmt.Sprintf("form: register adapter_name: %v", err))
	}
	return &Rules{v}
}

// Check returns nil, or a fault that lists every broken rule of the struct v and
// names the first field as its param. at is v's path inside a larger value;
// fields named in except (by their Go name) are not checked.
func (r *Rules) Check(v any, at string, except ...string) error {
	err := r.v.StructExcept(v, except...)
	var broken validator.ValidationErrors
	if err == nil {
		return nil
	}
	if !errors.As(err, &broken) {
		panic(fmt.Sprintf("form: check %T: %v", v, err))
	}
	var said []string
	for _, b := range broken {
		said = append(said, sentence(path(b, at), b))
	}
	code := CodeValue
	if broken[0].Tag() == "required" {
		code = CodeMissing
	}
	return invalid(code, path(broken[0], at), "%s", strings.Join(said, "; "))
}

// path drops the name of the outermost struct, which callers do not know.
func path(b validator.FieldError, at string) string {
	_, inside, _ := strings.Cut(b.Namespace(), ".")
	return Join(at, inside)
}

// sentence says which rule is broken and what would be right.
func sentence(path string, b validator.FieldError) string {
	must := map[string]string{
		"required":     "is missing; set it",
		"min":          "must be at least " + size(b),
		"gte":          "must be at least " + size(b),
		"max":          "must be at most " + size(b),
		"lte":          "must be at most " + size(b),
		"gt":           "must be greater than " + b.Param(),
		"lt":           "must be less than " + b.Param(),
		"len":          "must be exactly " + size(b),
		"oneof":        "must be one of " + strings.Join(strings.Fields(b.Param()), ", "),
		"adapter_name": `must begin with a letter or digit and may go on with letters, digits, ".", "_" and "-"`,
	}[b.Tag()]
	if must == "" {
		panic(fmt.Sprintf("form: no sentence for the rule %q of %s", b.Tag(), path))
	}
	return path + given(b) + " " + must
}

// size is the rule's number with its unit: characters of a text, entries of a list.
func size(b validator.FieldError) string {
	switch b.Kind() {
	case reflect.String:
		return b.Param() + " characters long"
	case reflect.Slice, reflect.Map:
		return b.Param() + " entries long"
	}
	return b.Param()
}

// given repeats the value where that helps: numbers, and words of a choice. Other
// texts may be long, or secrets.
func given(b validator.FieldError) string {
	switch b.Kind() {
	case reflect.Slice, reflect.Map:
		return ""
	case reflect.String:
		if b.Tag() != "oneof" && b.Tag() != "adapter_name" {
			return ""
		}
		return fmt.Sprintf(" is %q: it", shorten(b.Value().(string)))
	}
	return fmt.Sprintf(" is %v: it", b.Value())
}
