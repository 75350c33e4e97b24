package mathcheck_test

import (
	"testing"
	"time"

	"afina/internal/mathcheck"
)

// TestMathVerify holds the answers of the public issues of
// huggingface/Math-Verify (false equal, false unequal, crashes, hangs). The
// verdict must be the right one or unknown; decided says which it is here.
func TestMathVerify(t *testing.T) {
	const yes, no = mathcheck.True, mathcheck.False
	for _, c := range []struct {
		issue   int
		a, b    string
		right   mathcheck.Verdict
		decided bool
	}{
		{2, `0.0833333333333333`, `\frac{1}{12}`, no, false},
		{2, `(1,4.5)`, `(1,\frac{9}{2})`, yes, true},
		{2, `\frac{x}{7}+\frac{2}{7}`, `\frac{x+2}{7}`, yes, true},
		{2, `\sec^2(y)`, `\tan^2(y)+1`, yes, true},
		{2, `\begin{pmatrix}-\frac{7}{4}&-2\\4&\frac{1}{4}\end{pmatrix}`, `\begin{pmatrix}-\frac{7}{4}&-2\\4&\frac{1}{4}\\\end{pmatrix}`, yes, true},
		{2, `-34x-45y+20z-100=0`, `34x+45y-20z+100=0`, yes, true},
		{2, `\frac{100}{3}`, `33.3`, no, false},
		{10, `$(0, 12.5)$`, `$0 < x < 12.5$`, yes, true},
		{14, `$\frac{1}{2004!}$`, `$\frac{1}{2006!}$`, no, false},
		{14, `$\frac{1}{2^{99}}$`, `$\frac{1}{2^{98}}$`, no, true},
		{14, `$n=2, 3, 4$`, `$n=1, 2, 3$`, no, true},
		{14, `$D = (0, 1)$`, `$D = (0, 1.5)$`, no, true},
		{14, `$F_n = \sum_{k=0}^{n-1} F_k F_{n-k-1}$`, `$F_n = \sum_{k=0}^{n-2} F_k F_{n-k-2}$`, no, false},
		{14, `$19, 46, \text{ and } 82$`, `$21, 36, and 82$`, no, false},
		{14, `$\frac{2^{2005}+1}{3 \cdot 2^{2006}}$`, `$\frac{1}{3 \cdot 2^{2006}}$`, no, true},
		{14, `$1 - \frac{1}{\mathrm{e}}$`, `$1 + \frac{1}{\mathrm{e}}$`, no, true},
		{14, `$\pm 2021$`, `$2021$`, no, true},
		{14, `$12:00$`, `$1:00$`, no, false},
		{14, `$1, 2, \ldots, n$`, `$1, 3, 5, \ldots, 2n-1$`, no, false},
		{14, `$1:2:3:\ldots$`, `$1:4:9:\ldots$`, no, false},
		{25, "Final Answer\n\\[\n\\boxed{m \\geq \\sqrt{2}}\n\\]", `the solution to the problem is $m \in [\sqrt{2}, +\infty)$`, yes, true},
		{26, `$2x+4y-3=0$`, `$y = -1/2*x + 3/4$`, yes, true},
		{29, `\sqrt{17}`, `sqrt(17)`, yes, true},
		{35, `$\frac12$`, `$\frac{1}{2}$`, yes, true},
		{37, `$\text{13}$`, `$13$`, yes, true},
		{39, `\frac{\sqrt{3}}{3}`, `sqrt(3)/3`, yes, true},
		{40, `x^2/4 + y^2/3 = 1`, `x^2/16 + y^2/12 = 1`, no, false},
		{41, `$4$`, `$4\sqrt(2)$`, no, false},
		{44, "SoHi YES.\n\n could answer therefore\\boxed{840}.,but let me put this after explain.\n\n**Final Answer**\n\\boxed{840}", `840`, yes, true},
		{44, "**Final Answer**\n\\boxed{004}", `4`, yes, true},
		{49, `$-2 \le x \le 7$`, `$x \in [-2,7]$`, yes, true},
		{56, `\left( 3, \frac{\pi}{2} \right)`, `(3, \frac{2\pi}{3})`, no, true},
		{60, `3*x-1*y+13=0`, `3x + 4y + 14=0`, no, true},
		{61, `$28\%$`, `$\boxed{28 percent}$`, yes, false},
		{64, `$\sqrt{1/n}$`, `$\frac{1}{\sqrt{n}}$`, yes, true},
		{64, `f(x) = 0`, `\forall x>0, f(x) = 0`, no, false},
		{65, `\boxed{\dfrac{5^{\left(5^{\left(5^{\left(5^5\right)}\right)} - 4\right)} - 5}{16}}`, `1`, no, false},
		{65, `{@Neillier 1276915 4951077 ник增高人权 国 {1,1-3-10鼓励不停);5个_GENERAL2全校。 _HEADERS1 Orchestra}`, `92.5857658508735`, no, false},
		{67, `$28\%$`, `28`, yes, false},
		{70, `\dfrac{9}{7}`, `\boxed{\dfrac{9}{7}}`, yes, true},
		{71, `$x<3$`, `$(-\infty, 3)$`, yes, true},
		{74, `1 - \sqrt{2}`, `$1 - \sqrt{2}$`, yes, true},
		{76, "So answer is consistent.\n\n✅ Final Answer: **73**", `73`, yes, true},
		{81, `2 2/3`, `2`, no, false},
		{81, `4 10/3`, `10`, no, false},
		{82, `$1 - \frac{1}{\mathrm{e}}$`, `$1 + \frac{1}{\mathrm{e}}$`, no, true},
		{0, `$f(2) < f(1) < f(4)$`, `$f(2) < f(4) < f(1)$`, no, false},
		{0, `$[0,9)$`, `$[0,1)$`, no, true},
		{0, `$(0,9)$`, `$[0,9)$`, no, true},
		{0, `$x > 5$`, `$x < 5$`, no, true},
		{0, `$x \leq 5$`, `$5 \geq x$`, yes, true},
		{0, `$1 \pm \sqrt{19}$`, `x = 1 - \sqrt{19}, x = 1 + \sqrt{19}`, yes, true},
		{0, `$[-1, -\frac{1}{2}) \cup (-\frac{1}{2}, 0) \cup (0, 1) \cup (1, \infty)$`, `$\boxed{[-1, -\tfrac12) \cup (-\tfrac12, 0) \cup (0, 1) \cup (1, \infty)}$`, yes, true},
		{0, `$x = 11$`, `$x = 5+5+1 = 7 = 11$`, no, false},
		{0, `$204_5$`, `$204$`, no, false},
		{0, `7425000`, `7,425,000`, yes, true},
		{0, `1000.99`, `1,000.99`, yes, true},
		{0, `$2 \sin b \cos a$`, `$\sin (a + b) - \sin (a - b)$`, yes, true},
	} {
		for _, pair := range [][2]string{{c.a, c.b}, {c.b, c.a}} {
			begin := time.Now()
			got := mathcheck.Equivalent(pair[0], pair[1], mathcheck.Options{Language: mathcheck.English})
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("#%d: %q took %s", c.issue, pair, took)
			}
			if got != c.right && got != mathcheck.Unknown {
				t.Errorf("#%d: %q is called %s, and %s is right", c.issue, pair, got, c.right)
			}
			if c.decided && got == mathcheck.Unknown {
				t.Errorf("#%d: %q is not decided, want %s", c.issue, pair, c.right)
			}
		}
	}
}
