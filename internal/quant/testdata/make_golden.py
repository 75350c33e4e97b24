"""Writes golden.json: random blocks of every format with the float32 bits that
libggml unpacks them to, and random numbers with the blocks that its reference
quantisers pack them to.

Needs numpy 2.4.6 and libggml-base.so of llama.cpp v0.5.0 (from the npm package
@node-llama-cpp/linux-x64 3.22.1); the folder that holds it is the argument.
"""
import ctypes, json, pathlib, sys
import numpy as np

lib = ctypes.CDLL(str(pathlib.Path(sys.argv[1]) / "libggml-base.so"))
rng = np.random.default_rng(20)

# name: (numbers, bytes, offsets of f16 scales, function)
TYPES = {
    "Q4_0": (32, 18, [0], "q4_0"), "Q4_1": (32, 20, [0, 2], "q4_1"),
    "Q5_0": (32, 22, [0], "q5_0"), "Q5_1": (32, 24, [0, 2], "q5_1"),
    "Q8_0": (32, 34, [0], "q8_0"), "Q2_K": (256, 84, [80, 82], "q2_K"),
    "Q3_K": (256, 110, [108], "q3_K"), "Q4_K": (256, 144, [0, 2], "q4_K"),
    "Q5_K": (256, 176, [0, 2], "q5_K"), "Q6_K": (256, 210, [208], "q6_K"),
    "IQ4_NL": (32, 18, [0], "iq4_nl"), "IQ4_XS": (256, 136, [0], "iq4_xs"),
}


def hexbits(a):
    return np.ascontiguousarray(a, "<f4").tobytes().hex()


unpack = []
for name, (size, nbytes, scales, fn) in TYPES.items():
    for i in range(3):
        block = rng.integers(0, 256, nbytes, dtype="u1")
        for o in scales:
            d = rng.standard_normal() * [1, 1e-3, 1e-6][i]  # the last is a subnormal half
            block[o:o + 2] = np.frombuffer(np.float16(d).tobytes(), "u1")
        out = np.zeros(size, "<f4")
        raw = block.tobytes()
        getattr(lib, "dequantize_row_" + fn)(
            ctypes.c_char_p(raw), out.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(size))
        unpack.append({"type": name, "block": raw.hex(), "floats": hexbits(out)})

pack = []
for name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"):
    size, nbytes, _, fn = TYPES[name]
    cases = [rng.standard_normal(size).astype("f4") * s for s in (1, 0.02, 30)]
    cases += [np.zeros(size, "f4"), np.full(size, 0.7, "f4"), np.full(size, -0.7, "f4"),
              rng.integers(-3, 4, size).astype("f4") / 2]  # ties
    for x in cases:
        x = np.ascontiguousarray(x, "<f4")
        out = ctypes.create_string_buffer(nbytes)
        getattr(lib, f"quantize_row_{fn}_ref")(
            x.ctypes.data_as(ctypes.c_void_p), out, ctypes.c_int64(size))
        pack.append({"type": name, "block": out.raw.hex(), "floats": hexbits(x)})

path = pathlib.Path(__file__).with_name("golden.json")
lines = lambda rows: "[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]"
path.write_text('{"unpack": ' + lines(unpack) + ',\n"pack": ' + lines(pack) + "}\n")
print(len(unpack), "blocks to unpack,", len(pack), "to pack,", path.stat().st_size, "bytes")
