package config

import (
	"fmt"
	"maps"
	"math"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"

	"afina/internal/form"
)

// Variables of the environment that set keys begin with prefix; those that
// begin with ignored belong to the tests.
const (
	prefix  = "AFINA_"
	ignored = "AFINA_TEST_"
)

// Load reads defaults, then the file at path (none when empty), then the
// environment (AFINA_HTTP__MAX_BODY_BYTES=1048576; a list is separated by
// commas), then settings from flags, each "key=value", and checks the whole.
func Load(path string, environ []string, flags ...string) (Config, error) {
	c := Default()
	keys := leaves(reflect.ValueOf(&c).Elem(), "")
	for _, source := range []func() (map[string]any, string, error){
		func() (map[string]any, string, error) { return fromFile(path) },
		func() (map[string]any, string, error) { return fromEnvironment(environ) },
		func() (map[string]any, string, error) { return fromFlags(flags) },
	} {
		values, from, err := source()
		if err != nil {
			return Config{}, err
		}
		if err := assign(keys, values, from); err != nil {
			return Config{}, err
		}
	}
	if err := c.Check(); err != nil {
		return Config{}, err
	}
	return c, nil
}

func fromFile(path string) (map[string]any, string, error) {
	if path == "" {
		return nil, "", nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, "", fmt.Errorf("read the configuration: %w", err)
	}
	k := koanf.New(".")
	if err := k.Load(rawbytes.Provider(text), yaml.Parser()); err != nil {
		return nil, "", wrong("", "%s: %w", path, err)
	}
	return k.All(), path, nil
}

func fromEnvironment(environ []string) (map[string]any, string, error) {
	k := koanf.New(".")
	err := k.Load(env.Provider(".", env.Opt{
		Prefix: prefix,
		TransformFunc: func(name, value string) (string, any) {
			if strings.HasPrefix(name, ignored) {
				return "", nil
			}
			key := strings.ToLower(strings.TrimPrefix(name, prefix))
			return strings.ReplaceAll(key, "__", "."), value
		},
		EnvironFunc: func() []string { return environ },
	}), nil)
	if err != nil {
		return nil, "", fmt.Errorf("read the environment: %w", err)
	}
	return k.All(), "the environment (" + prefix + "…)", nil
}

func fromFlags(flags []string) (map[string]any, string, error) {
	values := map[string]any{}
	for _, f := range flags {
		key, value, ok := strings.Cut(f, "=")
		if !ok {
			return nil, "", wrong(f, "setting %q has no value: write key=value", f)
		}
		values[key] = value
	}
	return values, "the command line", nil
}

// leaves are the keys of the configuration and where their values go.
func leaves(v reflect.Value, under string) map[string]reflect.Value {
	all := map[string]reflect.Value{}
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("yaml")
		if name == "-" {
			continue
		}
		key := form.Join(under, name)
		if f := v.Field(i); f.Kind() == reflect.Struct {
			maps.Copy(all, leaves(f, key))
		} else {
			all[key] = f
		}
	}
	return all
}

func assign(keys map[string]reflect.Value, values map[string]any, from string) error {
	known := slices.Sorted(maps.Keys(keys))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		value := values[key]
		leaf, ok := keys[key]
		section := slices.ContainsFunc(known, func(k string) bool { return strings.HasPrefix(k, key+".") })
		switch {
		case ok:
			if err := set(leaf, value); err != nil {
				return wrong(key, "%s: %s %w", from, key, err)
			}
		case section && empty(value):
		case section:
			return wrong(key, "%s: %s is a section: put its keys under it", from, key)
		default:
			return wrong(key, "%s: unknown key %q%s; configs/default.yaml lists them all", from, key, form.Meant(key, known))
		}
	}
	return nil
}

// empty: a section whose keys are all commented out.
func empty(value any) bool {
	m, ok := value.(map[string]any)
	return value == nil || ok && len(m) == 0
}

var duration = reflect.TypeFor[time.Duration]()

// set puts a value from a YAML file, or a text from elsewhere, into leaf.
func set(leaf reflect.Value, value any) error {
	text, isText := value.(string)
	switch {
	case leaf.Type() == duration:
		d, err := time.ParseDuration(text)
		if !isText || err != nil {
			return fmt.Errorf("is %v: it must be a time with its unit, such as 30s or 10m", value)
		}
		leaf.SetInt(int64(d))
	case leaf.Kind() == reflect.String:
		if !isText {
			return fmt.Errorf("is %v: it must be text; put it in quotes", value)
		}
		leaf.SetString(text)
	case leaf.Kind() == reflect.Int || leaf.Kind() == reflect.Int64:
		n, err := strconv.ParseInt(strings.TrimSpace(fmt.Sprint(value)), 10, leaf.Type().Bits())
		if _, fraction := value.(float64); err != nil || fraction {
			return fmt.Errorf("is %v: it must be a whole number", value)
		}
		leaf.SetInt(n)
	case leaf.Kind() == reflect.Float32 || leaf.Kind() == reflect.Float64:
		f, err := strconv.ParseFloat(strings.TrimSpace(fmt.Sprint(value)), leaf.Type().Bits())
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("is %v: it must be a number", value)
		}
		leaf.SetFloat(f)
	case leaf.Kind() == reflect.Slice:
		return setList(leaf, value)
	default:
		panic(fmt.Sprintf("config: no way to set a %s", leaf.Type()))
	}
	return nil
}

// setList sets a list of texts; the values are not repeated in errors, they may
// be secrets.
func setList(leaf reflect.Value, value any) error {
	var list []string
	switch v := value.(type) {
	case nil:
	case string:
		for _, s := range strings.Split(v, ",") {
			if s = strings.TrimSpace(s); s != "" {
				list = append(list, s)
			}
		}
	case []any:
		for i, e := range v {
			s, ok := e.(string)
			if !ok {
				return fmt.Errorf("has an entry %d that is not text; put it in quotes", i)
			}
			list = append(list, s)
		}
	default:
		return fmt.Errorf("must be a list of texts")
	}
	leaf.Set(reflect.ValueOf(list))
	return nil
}
