package grammar

import "afina/internal/automaton"

// kind is what a node of a grammar is.
type kind uint8

const (
	literal  kind = iota // bytes that stand as they are
	machine              // a table
	free                 // the inside of a string and its closing quote, by length
	sequence             // nodes one after the other
	choice               // one of some nodes
	members              // the inside of an object and its closing brace
	elements             // the inside of an array and its closing bracket
)

// node is one part of a grammar. Nodes name each other by number, so they may
// go in circles.
type node struct {
	kind   kind
	text   string           // literal
	table  *automaton.Table // machine
	kids   []int32
	fields []Field // members, in the order of writing
	key    int32   // members: a further property's key, its quotes included
	rest   int32   // members: a further property's value; elements: an element past kids; -1 for none
	min    int32   // free: characters; elements: how many
	max    int32   // the same; -1 for no limit
	height int32   // how deep arrays and objects in it must go at least
}

// Field is a property that may or must be written.
type Field struct {
	Key      int32 // a literal: the name, quoted, and a colon
	Value    int32
	Required bool
}

const (
	// MaxDepth is how deep arrays and objects may go into each other.
	MaxDepth = 32
	// never is the height of what cannot be written.
	never = 1 << 20
)

// Builder makes the nodes of a grammar. A node is known by its number.
type Builder struct {
	v     *Vocabulary
	nodes []node
	texts map[string]int32 // literals
}

// Nodes that every grammar has.
const (
	Blank     int32 = iota // optional white space: a space, or a newline and up to 20 blanks
	Space                  // an optional space or newline
	AnyString              // any string
	AnyText                // its inside and the closing quote
	comma                  // of an object or array, with white space
	endObject              // white space and a brace
	endArray               // white space and a bracket
	brace                  // }
	bracket                // ]
	colon                  // : and an optional space
	shared                 // how many
)

// blanks and spaces are the white space of all grammars.
var (
	blanks = automaton.Blank(20)
	spaces = automaton.Blank(0)
)

// NewBuilder returns a builder for a vocabulary.
func NewBuilder(v *Vocabulary) *Builder {
	v.prepare()
	b := &Builder{v: v, texts: map[string]int32{}}
	b.nodes = make([]node, shared)
	b.nodes[Blank] = node{kind: machine, table: blanks}
	b.nodes[Space] = node{kind: machine, table: spaces}
	b.nodes[AnyText] = node{kind: free, max: -1}
	b.nodes[AnyString] = node{kind: sequence, kids: []int32{b.Literal(`"`), AnyText}}
	b.nodes[brace] = node{kind: literal, text: "}"}
	b.nodes[bracket] = node{kind: literal, text: "]"}
	b.nodes[comma] = node{kind: sequence, kids: []int32{b.Literal(","), Blank}}
	b.nodes[endObject] = node{kind: sequence, kids: []int32{Blank, brace}}
	b.nodes[endArray] = node{kind: sequence, kids: []int32{Blank, bracket}}
	b.nodes[colon] = node{kind: sequence, kids: []int32{b.Literal(":"), Space}}
	return b
}

// add appends a node.
func (b *Builder) add(n node) int32 {
	b.nodes = append(b.nodes, n)
	return int32(len(b.nodes) - 1)
}

// Literal returns the node that writes text, which is not empty.
func (b *Builder) Literal(text string) int32 {
	id, ok := b.texts[text]
	if !ok {
		id = b.add(node{kind: literal, text: text})
		b.texts[text] = id
	}
	return id
}

// Seq returns the node that writes kids in order.
func (b *Builder) Seq(kids ...int32) int32 { return b.add(node{kind: sequence, kids: kids}) }

// Choice returns the node that writes one of kids; without any it cannot be written.
func (b *Builder) Choice(kids ...int32) int32 {
	if len(kids) == 1 {
		return kids[0]
	}
	return b.add(node{kind: choice, kids: kids})
}

// Later returns a node to be given by Become, so that nodes may contain themselves.
func (b *Builder) Later() int32 { return b.add(node{kind: choice}) }

// Become makes a node of Later write one of kids.
func (b *Builder) Become(id int32, kids ...int32) { b.nodes[id].kids = kids }

// Table returns the node that writes what t accepts, nothing when t is nil.
func (b *Builder) Table(t *automaton.Table) int32 {
	if t == nil {
		return b.Choice()
	}
	return b.add(node{kind: machine, table: t})
}

// Text returns the node of a string's inside and its closing quote.
func (b *Builder) Text(l automaton.Length) int32 {
	if l.Max >= 0 && l.Min > l.Max {
		return b.Choice()
	}
	return b.add(node{kind: free, min: l.Min, max: l.Max})
}

// Object returns the node of an object. further is the value of properties
// beyond fields, -1 when there may be none, and key their keys.
func (b *Builder) Object(fields []Field, key, further int32) int32 {
	inner := b.add(node{kind: members, fields: fields, key: key, rest: further})
	return b.Seq(b.Literal("{"), Blank, inner)
}

// Array returns the node of an array of as many elements as l says, first those
// of kids and then rest, -1 when there may be no more.
func (b *Builder) Array(kids []int32, rest int32, l automaton.Length) int32 {
	if rest < 0 && (l.Max < 0 || l.Max > int32(len(kids))) {
		l.Max = int32(len(kids))
	}
	inner := b.add(node{kind: elements, kids: kids, rest: rest, min: l.Min, max: l.Max})
	return b.Seq(b.Literal("["), Blank, inner)
}

// Levels is how deep arrays and objects in node id go at least, more than
// MaxDepth when it cannot be written.
func (b *Builder) Levels(id int32) int {
	measure(b.nodes)
	return int(b.nodes[id].height)
}

// element is the node of element i of an array.
func (n *node) element(i int32) int32 {
	if int(i) < len(n.kids) {
		return n.kids[i]
	}
	return n.rest
}

// measure sets the heights: the least ones that fit together.
func measure(nodes []node) {
	for i := range nodes {
		nodes[i].height = never
	}
	for changed := true; changed; {
		changed = false
		for i := range nodes {
			if h := nodes[i].least(nodes); h < nodes[i].height {
				nodes[i].height, changed = h, true
			}
		}
	}
}

// least is the height of n by the heights of its parts.
func (n *node) least(nodes []node) int32 {
	h := int32(0)
	switch n.kind {
	case sequence:
		for _, k := range n.kids {
			h = max(h, nodes[k].height)
		}
	case choice:
		h = never
		for _, k := range n.kids {
			h = min(h, nodes[k].height)
		}
	case members:
		for _, f := range n.fields {
			if f.Required {
				h = max(h, nodes[f.Value].height)
			}
		}
		h++
	case elements:
		if n.max >= 0 && n.min > n.max {
			return never
		}
		for i := range min(n.min, int32(len(n.kids))+1) {
			h = max(h, nodes[n.element(i)].height)
		}
		h++
	}
	return min(h, never)
}
