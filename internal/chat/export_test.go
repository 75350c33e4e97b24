package chat

import "github.com/ardanlabs/jinja"

// RenderSource renders any template with one variable, c.
func RenderSource(source, c string) (string, error) {
	p, err := compile(source)
	if err != nil {
		return "", err
	}
	return p.run(newUsage(), map[string]jinja.Value{"c": jinja.NewString(c)})
}
