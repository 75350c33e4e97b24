package grammar

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
	text   string // literal
	table  *table // machine
	kids   []int32
	fields []field // members, in the order of writing
	key    int32   // members: a further property's key, its quotes included
	rest   int32   // members: a further property's value; elements: an element past kids; -1 for none
	min    int32   // free: characters; elements: how many
	max    int32   // the same; -1 for no limit
	height int32   // how deep arrays and objects in it must go at least
}

// field is a property that may or must be written.
type field struct {
	key      int32 // a literal: the name, quoted, and a colon
	value    int32
	required bool
}

const (
	// maxDepth is how deep arrays and objects may go into each other.
	maxDepth = 32
	// never is the height of what cannot be written.
	never = 1 << 20
	// maxNodes bounds what a schema may ask for.
	maxNodes = 100_000
)

// builder makes nodes. The first ones are always the same.
type builder struct {
	v     *Vocabulary
	nodes []node
	texts map[string]int32 // literals
}

// Nodes that every grammar has.
const (
	blank     int32 = iota // optional white space
	space                  // an optional space or newline without indentation
	comma                  // of an object or array, with white space
	endObject              // white space and a brace
	endArray               // white space and a bracket
	brace                  // }
	bracket                // ]
	colon                  // : and an optional space
	anyText                // the inside of any string
	anyKey                 // any string
	shared                 // how many
)

func newBuilder(v *Vocabulary) *builder {
	b := &builder{v: v, texts: map[string]int32{}}
	b.nodes = make([]node, shared)
	b.nodes[blank] = node{kind: machine, table: blanks}
	b.nodes[space] = node{kind: machine, table: spaces}
	b.nodes[comma] = node{kind: sequence, kids: []int32{b.literal(","), blank}}
	b.nodes[brace] = node{kind: literal, text: "}"}
	b.nodes[bracket] = node{kind: literal, text: "]"}
	b.nodes[endObject] = node{kind: sequence, kids: []int32{blank, brace}}
	b.nodes[endArray] = node{kind: sequence, kids: []int32{blank, bracket}}
	b.nodes[colon] = node{kind: sequence, kids: []int32{b.literal(":"), space}}
	b.nodes[anyText] = node{kind: free, max: -1}
	b.nodes[anyKey] = node{kind: sequence, kids: []int32{b.literal(`"`), anyText}}
	return b
}

// blanks and spaces are the white space of all grammars.
var (
	blanks = newBlank(20)
	spaces = newBlank(0)
)

// add appends a node.
func (b *builder) add(n node) int32 {
	b.nodes = append(b.nodes, n)
	return int32(len(b.nodes) - 1)
}

// literal returns the node that writes text, which is not empty.
func (b *builder) literal(text string) int32 {
	id, ok := b.texts[text]
	if !ok {
		id = b.add(node{kind: literal, text: text})
		b.texts[text] = id
	}
	return id
}

// seq returns the node that writes kids in order.
func (b *builder) seq(kids ...int32) int32 { return b.add(node{kind: sequence, kids: kids}) }

// choice returns the node that writes one of kids; without any it cannot be written.
func (b *builder) choice(kids ...int32) int32 {
	if len(kids) == 1 {
		return kids[0]
	}
	return b.add(node{kind: choice, kids: kids})
}

// table returns the node that writes what t accepts, nothing when t is nil.
func (b *builder) table(t *table) int32 {
	if t == nil {
		return b.choice()
	}
	return b.add(node{kind: machine, table: t})
}

// object returns the node of an object. further is the value of properties
// beyond fields, -1 when there may be none, and key their keys.
func (b *builder) object(fields []field, key, further int32) int32 {
	inner := b.add(node{kind: members, fields: fields, key: key, rest: further})
	return b.seq(b.literal("{"), blank, inner)
}

// array returns the node of an array of least to most elements, first those of
// kids and then rest, -1 when there may be no more.
func (b *builder) array(kids []int32, rest, least, most int32) int32 {
	if rest < 0 && (most < 0 || most > int32(len(kids))) {
		most = int32(len(kids))
	}
	inner := b.add(node{kind: elements, kids: kids, rest: rest, min: least, max: most})
	return b.seq(b.literal("["), blank, inner)
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
			if f.required {
				h = max(h, nodes[f.value].height)
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
