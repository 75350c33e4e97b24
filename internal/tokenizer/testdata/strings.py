"""The texts of the golden files: Spanish, LaTeX, and what breaks tokenisers."""

SPANISH = """¿Cuánto es la mitad de tres cuartos?
El área de un círculo de radio r es πr².
¡Qué fácil! Sólo hay que despejar la incógnita.
Añade 25 a 375 y divide el resultado entre 8.
La señora Núñez compró 12 manzanas y 7 peras por 4,75 €.
Según el teorema de Pitágoras, a² + b² = c².
El mínimo común múltiplo de 4 y 6 es 12.
Vergüenza, pingüino, lingüística y averigüéis llevan diéresis.
«La suma de los ángulos de un triángulo es 180°», dijo.
Un número es divisible por 3 si la suma de sus cifras lo es.
1.234.567,89 se lee «un millón doscientos treinta y cuatro mil…»
La raíz cuadrada de 144 es 12, porque 12 · 12 = 144.
El 35 % de 80 es 28.
Paso 1: restamos 5 a ambos lados. Paso 2: dividimos por 2.
¿Es 91 primo? No: 91 = 7 × 13.
La pendiente de la recta que pasa por (1, 2) y (4, 8) es 2.
El perímetro mide 2·(a+b) = 2·(3+5) = 16 cm.
Resuelve 3x − 7 = 11; entonces 3x = 18 y x = 6.
De cada diez alumnos, siete aprobaron: 7/10 = 0,7 = 70 %.
La mediana de 3, 5, 8, 9 y 12 es 8.
La probabilidad de sacar un as de una baraja española es 4/40 = 1/10.
Si f(x) = x² − 4x + 3, los ceros son x = 1 y x = 3.
El volumen de un cubo de arista 5 cm es 125 cm³.
Treinta y tres trigueños tigres tragaban trigo.
El niño está enfermo; mañana irá al médico.
Los números naturales son 1, 2, 3, 4, 5, …
Una hectárea son 10 000 m².
Convierte 3 h 45 min en segundos: 13 500 s.
La derivada de x³ es 3x² y la de sen x es cos x.
Dos rectas paralelas nunca se cortan.
PROHIBIDO DIVIDIR ENTRE CERO
el Algoritmo de Euclides: mcd(48, 18) = mcd(18, 12) = mcd(12, 6) = 6
Es decir: (a+b)² ≠ a² + b².
Año 2024; años '90; l'Hôpital; D'Alembert; O'Brien's.
—¿Y entonces? —preguntó ella—. ¡Pues nada!
1º, 2ª, 3er piso; n.º 5; pág. 17; EE. UU.
Tengo I'm, you're, we've, he'll, she'd, it's, don't.
TENGO I'M, YOU'RE, WE'VE, HE'LL, SHE'D, IT'S, DON'T
Correo: ana.lopez@example.com, web: https://example.org/a?b=1&c=2#d
0,333… = 1/3; 0,9̅ = 1
Por tanto, x ∈ ℝ, x ≥ 0, ∀ε > 0 ∃δ > 0.
½ + ¼ = ¾; x₁ + x₂ = −b/a; ⅓; Ⅷ; ①②③; ٣٤٥; १२३
El conjunto {1, 2, 3} ⊂ ℕ; A ∪ B; A ∩ B = ∅.
Suma: 12+34=46. Resta: 50-8=42. Producto: 6*7=42. Cociente: 84/2=42.
Hoy es 23/11/2026 a las 14:05:59.
La función seno es periódica de período 2π ≈ 6,283185307.
log₁₀(1000) = 3; ln(e) = 1; 2¹⁰ = 1024.
Un ángulo de 90° equivale a π/2 rad; 30′ = 0,5°.
10!=3628800, 7!!=105
El interés compuesto: C = C₀(1 + r)ᵗ.""".split("\n")

LATEX = r"""\frac{1}{2}
$x^2 + y^2 = z^2$
\[ \int_0^1 x^2 \, dx = \frac{1}{3} \]
\begin{equation} E = mc^2 \end{equation}
$\sqrt{144} = 12$ y $\sqrt[3]{27} = 3$.
La solución es $x = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a}$.
\sum_{k=1}^{n} k = \frac{n(n+1)}{2}
$\lim_{x \to 0} \frac{\sin x}{x} = 1$
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}
\begin{cases} x + y = 10 \\ x - y = 2 \end{cases}
$\alpha + \beta + \gamma = 180^\circ$
\mathbb{R}^n \setminus \{0\}
$$\prod_{i=1}^{\infty} \left(1 - \frac{1}{p_i^2}\right) = \frac{6}{\pi^2}$$
f'(x) = \lim_{h\to0}\frac{f(x+h)-f(x)}{h}
f''(x), f'''(x), y'', y'''
\vec{AB} \cdot \vec{CD} = |AB||CD|\cos\theta
P(A \mid B) = \frac{P(A \cap B)}{P(B)}
\binom{n}{k} = \frac{n!}{k!(n-k)!}
\overline{z} = a - bi, \quad |z| = \sqrt{a^2+b^2}
x_{1,2} = \dfrac{-b\pm\sqrt{\Delta}}{2a}
\text{área} = \tfrac12 \times \text{base} \times \text{altura}
\forall \varepsilon > 0\ \exists \delta > 0
a \equiv b \pmod{m}
\nabla \times \mathbf{F} = 0
\left\lfloor \frac{7}{2} \right\rfloor = 3
\log_{10} 1000 = 3
\documentclass[12pt]{article}\usepackage[utf8]{inputenc}
\section*{Números} % comentario
2^{10}=1024,\;2^{-1}=0.5
\boxed{42}
\hat{y}_i = \beta_0 + \beta_1 x_{i1} + \dots + \beta_p x_{ip}
\frac{\mathrm{d}}{\mathrm{d}x} e^{x} = e^{x}
\operatorname{mcd}(12,18)=6
\textbf{Respuesta:} $12{,}5\,\%$
3{,}14 \approx \pi
\begin{tabular}{|c|c|}\hline a & b \\ \hline 1 & 2 \\ \hline\end{tabular}
\iint_D f(x,y)\,dA
\cos^2\theta+\sin^2\theta=1
x \mapsto x^2 \colon \mathbb{N} \to \mathbb{N}
\underbrace{a+\cdots+a}_{n}
\$5.00 \& \# \_ \{ \} ~
{\sum}_{i<j} |x_i-x_j|
A^{T}A\hat{x}=A^{T}b
\begin{align*} 2x &= 8 \\ x &= 4 \end{align*}
$a<b\leq c\neq d\geq e>f$
\triangle ABC \sim \triangle DEF
\frac{3}{4}\div\frac{2}{5}=\frac{15}{8}
\lvert -7 \rvert = 7
10^{6}\,\mathrm{m}^2=1\,\mathrm{km}^2
e^{i\pi}+1=0""".split("\n")

ODD = [
    " ", "  ", "   ", "\n", "\n\n", "\n\n\n", "\t", "\t\t", " \n", "\n ", " \n ", "\r\n", "\r\n\r\n", "\r", " \t \n\r ",
    "a b", "a  b", "a   b", "a\nb", "a\n\nb", "a \n b", "a\tb", "a\t\tb", " a", "  a", "\na", "\n a", "a ", "a  ", "a\n",
    "1", "12", "123", "1234", "12345", " 1", " 12", "a1", "1a", "a 1 b", "1 2 3", "1.5", "1,000", "-1", "- 1", "+1", "3.14159",
    "hello  world 123 12", "x\u00a0y", "\u00a0x", "\u00a0\u00a0x", "\u2003x", "x\u2003", "\u3000日本語", "a\u200bb", "a\u0085b",
    "'", "''", "'s", "'S", "X'S", "x's", "'re", "'RE", "'l", "'ll", "'LL", "' s", "''s", "it's's", "'ſ", "a'ſ", "ſ", "'tis", "'d'm",
    ".", "..", "...", ".\n", ".\n\n", ".\n\n\n", ". \n", "!\r\n", "?!\n?!", "(a)", "((a))", "a.b", "a. b", "$a$", "$5", "#1", "a_b", "_", "__a",
    "日本語のテキスト", "数学は楽しい。1+1=2", "Привет, мир!", "مرحبا بالعالم", "שלום", "ไทย", "한국어", "हिन्दी", "Ελληνικά",
    "😀", "👨‍👩‍👧‍👦", "🇪🇸", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "e\u0301", "ñ", "n\u0303", "ﬁ", "ß", "İ", "\ufeff", "\ufeffa", "\ufffd", "\ue000", "\U0010ffff", "\U000f0000",
    "\x00", "\x01", "\x04", "a\x04b", "\x1b[0m", "\x7f", "a\u2028b", "a\u2029b",
    "<|im_end|>", "a<|im_end|>b", "<|im_start|>system\nx<|im_end|>", "<|endoftext|>", "<|im_end", "|im_end|>", "<s>", "</s>", "<unk>", "[INST]",
    "a" * 31, "a" * 32, "a" * 33, "a" * 200, " " * 40 + "x", "\n" * 33 + "x", "1" * 70, "ab" * 40, "ñ" * 50, "=" * 80, "-" * 65 + "\n", "xyz" * 30,
    "antidisestablishmentarianism" * 3, "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    "def f(x):\n    return x**2 + 1  # cuadrado\n", '{"a": [1, 2, {"b": null}]}', "SELECT * FROM t WHERE a='b';", "<div class=\"x\">&nbsp;</div>",
]

ALL = SPANISH + LATEX + ODD
