// Package practice makes practice conversations: questions of school mathematics
// with worked steps and an answer that is right by construction, in Spanish or
// English.
//
// Everything is computed exactly, in integers and fractions. Equal options give
// equal conversations, to the byte; no question comes twice, in
// whatever words.
package practice

import (
	"math/rand/v2"
	"slices"
	"strings"

	"afina/internal/chat"
	"afina/internal/fault"
)

// Lang is a language that questions can be in.
type Lang string

// The languages.
const (
	Spanish Lang = "es"
	English Lang = "en"
)

// Options say what to make.
type Options struct {
	Topics []string // of Topics; none: all
	N      int      // conversations; the topics take turns
	Seed   uint64
	Lang   Lang // Spanish when empty
}

// Most is how many conversations can be asked for at once.
const Most = 1_000_000

// Item is one question with its worked answer.
type Item struct {
	Topic    string
	Question string
	Steps    string // worked, one or several sentences
	Answer   string // alone: what the last line of the reply says
	Lang     Lang
}

// Marker is the word that the last line of every reply begins with.
func (l Lang) Marker() string {
	if l == English {
		return "Answer:"
	}
	return "Respuesta:"
}

// Reply is the whole answer: the steps, and on a line of its own what comes out.
func (i Item) Reply() string { return i.Steps + "\n" + i.Lang.Marker() + " " + i.Answer }

// Conversation is the item as a dataset holds it.
func (i Item) Conversation() chat.Conversation {
	return chat.Conversation{Messages: []chat.Message{
		{Role: chat.User, Content: i.Question},
		{Role: chat.Assistant, Content: i.Reply()},
	}}
}

// topic is a chapter of the school book: its kinds of questions.
type topic struct {
	name  string
	kinds []func(*draw) Item
}

// topics are all there are, easiest first.
func topics() []topic {
	return []topic{
		{"arithmetic", []func(*draw) Item{sum, difference, product, quotient, precedence, bracket, signs, squares}},
		{"fractions", []func(*draw) Item{fractionSum, fractionProduct, fractionQuotient, simplify}},
		{"percentages", []func(*draw) Item{percentOf, discount, increase, whatPercent}},
		{"linear", []func(*draw) Item{linearOne, linearBoth, linearBracket, linearQuotient}},
		{"quadratic", []func(*draw) Item{quadraticTwo, quadraticPure, quadraticFactor, quadraticNone}},
		{"systems", []func(*draw) Item{systemSum, systemSubstitution}},
		{"derivatives", []func(*draw) Item{derivePolynomial, deriveChain, derivePower, deriveAt}},
		{"geometry", []func(*draw) Item{rectangle, triangle, hypotenuse, angles, circle, box}},
		{"statistics", []func(*draw) Item{mean, median, spread, urn}},
	}
}

// Topics are the names of what there are questions about.
func Topics() []string {
	var names []string
	for _, t := range topics() {
		names = append(names, t.name)
	}
	return names
}

// Generate makes the items. It is fault.Invalid when a topic or language is
// unknown, or when the topics hold fewer different questions than are asked for.
func Generate(o Options) ([]Item, error) {
	chosen, err := o.check()
	if err != nil {
		return nil, err
	}
	d := &draw{r: rand.New(rand.NewPCG(o.Seed, 0x6166696e61)), lang: o.Lang}
	if d.lang == "" {
		d.lang = Spanish
	}
	seen := make(map[string]bool, o.N)
	all := make([]Item, 0, o.N)
	for i := range o.N {
		item, ok := d.fresh(chosen[i%len(chosen)], seen)
		if !ok {
			return nil, fault.New(fault.Invalid, "the topic %s has no more than about %d different questions; ask for fewer, or for more topics",
				item.Topic, i/len(chosen)).WithParam("n")
		}
		all = append(all, item)
	}
	return all, nil
}

// tries is how often a topic is asked for a question that was not there yet.
const tries = 2000

// fresh draws an item that is not in seen, and adds it. Two items with the same
// steps are one, however they are asked: what is held out was not taught.
func (d *draw) fresh(t topic, seen map[string]bool) (Item, bool) {
	for range tries {
		item := t.kinds[d.r.IntN(len(t.kinds))](d)
		if seen[item.Steps] {
			continue
		}
		seen[item.Steps] = true
		item.Topic, item.Lang = t.name, d.lang
		return item, true
	}
	return Item{Topic: t.name}, false
}

// check returns the chosen topics, in the order in which they were named.
func (o Options) check() ([]topic, error) {
	if o.N < 1 || o.N > Most {
		return nil, fault.New(fault.Invalid, "n is %d; it must be from 1 to %d", o.N, Most).WithParam("n")
	}
	if o.Lang != "" && o.Lang != Spanish && o.Lang != English {
		return nil, fault.New(fault.Invalid, "lang is %q; choose es or en", o.Lang).WithParam("lang")
	}
	all := topics()
	if len(o.Topics) == 0 {
		return all, nil
	}
	var chosen []topic
	for _, name := range o.Topics {
		i := slices.IndexFunc(all, func(t topic) bool { return t.name == name })
		if i < 0 {
			return nil, fault.New(fault.Invalid, "there is no topic %q; choose from %s", name, strings.Join(Topics(), ", ")).WithParam("topics")
		}
		if !slices.ContainsFunc(chosen, func(t topic) bool { return t.name == name }) {
			chosen = append(chosen, all[i])
		}
	}
	return chosen, nil
}
