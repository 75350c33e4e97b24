// Package formula reads mathematics as people write it (plain, Unicode and
// LaTeX, alone or inside running text) into expression trees.
//
// It knows notation and nothing of truth: no arithmetic is done here beyond
// reading numerals. Where a notation can be read in two ways the tree holds the
// commoner reading and the statement is marked as doubtful.
package formula

import "math/big"

// An Op says what a Node is.
type Op uint8

// The nodes and their arguments.
const (
	Num      Op = iota // Rat; Digits and Dots say how it was written
	Sym                // a variable: Name
	Con                // a constant: Name is "pi", "e", "inf" or "i"
	Add                // Args, two or more
	Neg                // Args[0]
	Mul                // Args, two or more
	Div                // Args[0] / Args[1]
	Pow                // Args[0] to the Args[1]
	Root               // the Args[1]-th root of Args[0]
	Call               // a known function Name of Args
	Apply              // a function named in the text, of Args; Order primes, or -1 for the inverse
	PM                 // Args[0] ± Args[1]; with Name "-" it is ∓
	Percent            // Args[0] hundredths
	Degree             // Args[0] degrees of angle
	Unit               // Args[0] of the unit Name
	Sum                // of Args[0], Name from Args[1] to Args[2]
	Prod               // as Sum
	Integral           // of Args[0] by Name, from Args[1] to Args[2] where there are bounds
	Limit              // of Args[0], Name to Args[1]; Order -1, 0 or 1 is the side
	Diff               // the Order-th derivative of Args[0] by Name
	Tuple              // (a, b), also a vector
	List               // a, b, c without brackets
	Set                // {a, b}
	Interval           // Args[0] to Args[1]; Open says which ends are open
	NumSet             // Name is one of N Z Q R C
	Union              // of Args
	Inter              // of Args
	Minus              // set difference
	Matrix             // Args are Tuples, the rows
	Rel                // a chain: Args[0] Rels[0] Args[1] Rels[1] …
)

// A Node is an expression.
type Node struct {
	Op     Op
	Rat    *big.Rat
	Name   string
	Args   []*Node
	Rels   []string // of Rel: = ≠ < > ≤ ≥ ≈ ∈ ∉ ⊂ ≡
	Order  int
	Digits int     // of Num: places after the decimal sign, -1 for an integer
	Dots   bool    // of Num: written with …, so known to its digits only
	Open   [2]bool // of Interval
	Start  int     // bytes of the text it was read from
	End    int
}

// Int is the node of an integer.
func Int(n int64) *Node { return &Node{Op: Num, Rat: big.NewRat(n, 1), Digits: -1} }

// Rat is the node of a rational.
func Rat(r *big.Rat) *Node { return &Node{Op: Num, Rat: r, Digits: -1} }

// Var is the node of a variable.
func Var(name string) *Node { return &Node{Op: Sym, Name: name} }

// New is the node of an operation.
func New(op Op, args ...*Node) *Node { return &Node{Op: op, Args: args} }

// Fn is the node of a known function.
func Fn(name string, args ...*Node) *Node { return &Node{Op: Call, Name: name, Args: args} }

// Walk calls f on n and all below it, parents first, until f says false.
func (n *Node) Walk(f func(*Node) bool) {
	if n == nil || !f(n) {
		return
	}
	for _, a := range n.Args {
		a.Walk(f)
	}
}

// Has reports whether some node of n is one of ops.
func (n *Node) Has(ops ...Op) bool {
	found := false
	n.Walk(func(m *Node) bool {
		for _, op := range ops {
			found = found || m.Op == op
		}
		return !found
	})
	return found
}

// Vars are the free variables of n, in the order they appear.
func (n *Node) Vars() []string {
	var names []string
	n.vars(map[string]bool{}, &names)
	return names
}

func (n *Node) vars(skip map[string]bool, names *[]string) {
	if n == nil {
		return
	}
	if n.Op == Sym && !skip[n.Name] {
		for _, have := range *names {
			if have == n.Name {
				return
			}
		}
		*names = append(*names, n.Name)
	}
	bound := n.Op == Sum || n.Op == Prod || n.Op == Limit || n.Op == Integral && len(n.Args) == 3
	if !bound {
		for _, a := range n.Args {
			a.vars(skip, names)
		}
		return
	}
	inner := map[string]bool{n.Name: true}
	for k := range skip {
		inner[k] = true
	}
	n.Args[0].vars(inner, names)
	for _, a := range n.Args[1:] {
		a.vars(skip, names)
	}
}

// Replace is n with every free name replaced by v.
func (n *Node) Replace(name string, v *Node) *Node {
	if n == nil {
		return nil
	}
	if n.Op == Sym && n.Name == name {
		return v
	}
	if len(n.Args) == 0 {
		return n
	}
	m := *n
	m.Args = make([]*Node, len(n.Args))
	bound := (n.Op == Sum || n.Op == Prod || n.Op == Limit || n.Op == Integral) && n.Name == name
	for i, a := range n.Args {
		if bound && i == 0 {
			m.Args[i] = a
			continue
		}
		m.Args[i] = a.Replace(name, v)
	}
	if n.Op == Diff && n.Name == name { // a derivative at a point is not a derivative by it
		return n
	}
	return &m
}

// Size is how many nodes n has.
func (n *Node) Size() int {
	k := 0
	n.Walk(func(*Node) bool { k++; return true })
	return k
}

// Same reports whether two trees are written alike.
func Same(a, b *Node) bool { return a.String() == b.String() }

// Plain names of letters and their signs, for LaTeX and for printing.
var greek = map[string]string{
	"alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "varepsilon": "ε",
	"theta": "θ", "lambda": "λ", "mu": "μ", "phi": "φ", "varphi": "φ", "rho": "ρ", "sigma": "σ",
	"tau": "τ", "omega": "ω", "Delta": "Δ", "Omega": "Ω", "Sigma": "Σ", "Phi": "Φ", "xi": "ξ", "eta": "η",
}

// functions are the known ones, by every name they are written with.
var functions = map[string]string{
	"sen": "sin", "sin": "sin", "cos": "cos", "tan": "tan", "tg": "tan", "sec": "sec", "csc": "csc", "cosec": "csc",
	"cot": "cot", "cotg": "cot", "ctg": "cot",
	"arcsen": "asin", "arcsin": "asin", "asin": "asin", "arccos": "acos", "acos": "acos",
	"arctan": "atan", "arctg": "atan", "atan": "atan", "sinh": "sinh", "senh": "sinh", "cosh": "cosh", "tanh": "tanh",
	"ln": "ln", "log": "log", "lg": "log", "exp": "exp", "sqrt": "sqrt", "raiz": "sqrt", "raíz": "sqrt", "cbrt": "cbrt",
	"abs": "abs", "det": "det", "max": "max", "min": "min", "máx": "max", "mín": "min", "floor": "floor", "ceil": "ceil",
	"mcd": "gcd", "gcd": "gcd", "hcf": "gcd", "MCD": "gcd", "mcm": "lcm", "lcm": "lcm", "MCM": "lcm", "GCD": "gcd", "LCM": "lcm",
}

// IsFunction reports whether a word names a known function.
func IsFunction(word string) bool { return functions[word] != "" }

// relations are the signs that join the members of a statement.
var relations = map[string]string{
	"=": "=", "≠": "≠", "!=": "≠", "<>": "≠", "<": "<", ">": ">", "≤": "≤", "≥": "≥", "<=": "≤", ">=": "≥", "=<": "≤",
	"⩽": "≤", "⩾": "≥", "≦": "≤", "≧": "≥",
	"≈": "≈", "≃": "≈", "≅": "≈", "~=": "≈", "∈": "∈", "∉": "∉", "⊂": "⊂", "⊆": "⊂", "≡": "≡", "==": "=",
}
