"""The sample project whose builds are recorded: `tally`, which counts lines, words and bytes, in C, Python, JavaScript
and Rust. `write(folder)` lays it out; `CHANGES` are its commits, one build each, and some of them break something."""

from pathlib import Path

COUNTERS = ["lines", "words", "bytes", "digits", "letters", "blanks", "tabs", "longest"]

C_BODY = {
    "lines": "for (size_t i = 0; i < n; i++) total += text[i] == '\\n';",
    "words": "int in = 0; for (size_t i = 0; i < n; i++) { int w = text[i] > ' '; total += w && !in; in = w; }",
    "bytes": "(void)text; total = (long)n;",
    "digits": "for (size_t i = 0; i < n; i++) total += text[i] >= '0' && text[i] <= '9';",
    "letters": "for (size_t i = 0; i < n; i++) total += (text[i] | 32) >= 'a' && (text[i] | 32) <= 'z';",
    "blanks": "for (size_t i = 0; i < n; i++) total += text[i] == ' ';",
    "tabs": "for (size_t i = 0; i < n; i++) total += text[i] == '\\t';",
    "longest": "long here = 0; for (size_t i = 0; i < n; i++) { here = text[i] == '\\n' ? 0 : here + 1; if (here > total) total = here; }",
}

MAKEFILE = """CC ?= cc
CFLAGS += -Wall -Wextra
OBJECTS := $(patsubst %.c,%.o,$(wildcard *.c))
.SHELLFLAGS = $@ -c
all: tally
tally: $(OBJECTS)
\t$(CC) $(CFLAGS) -o $@ $^
%.o: %.c tally.h
\t$(CC) $(CFLAGS) -c -o $@ $<
dist: tally
\ttar czf tally.tar.gz tally
clean:
\trm -f *.o tally
.PHONY: all dist clean
"""

PY_TESTS = '''import time
import unittest

from tally import count


class Counting(unittest.TestCase):
    def test_counts_lines(self):
        self.assertEqual(count("a\\nb\\n")["lines"], 2)

    def test_counts_words(self):
        self.assertEqual(count("one two  three")["words"], 3)

    def test_is_quick(self):
        started = time.perf_counter_ns()
        count("word " * 2000)
        # Now and then a machine is slower than this: the test that everybody knows from their own builds.
        self.assertLess(time.perf_counter_ns() - started, QUICK_NS)
'''

FILES = {
    "c/tally.h": "#include <stddef.h>\n" + "".join(f"long tally_{c}(const char *text, size_t n);\n" for c in COUNTERS),
    "c/main.c": '#include <stdio.h>\n#include "tally.h"\nstatic char text[1 << 20];\nint main(void) {\n'
    + "  size_t n = fread(text, 1, sizeof text, stdin);\n"
    + "".join(f'  printf("{c} %ld\\n", tally_{c}(text, n));\n' for c in COUNTERS)
    + "  return 0;\n}\n",
    "c/Makefile": MAKEFILE,
    "py/tally.py": 'def count(text):\n    return {"lines": text.count("\\n"), "words": len(text.split()), "chars": len(text)}\n',
    "py/__main__.py": "import sys\n\nfrom tally import count\n\nprint(count(sys.stdin.read()))\n",
    "py/test_tally.py": PY_TESTS.replace("QUICK_NS", "150_000"),
    "js/package.json": '{"name":"tally-web","version":"1.0.0","license":"Apache-2.0","scripts":{"test":"node --test"},'
    '"dependencies":{"tally-count":"file:./count"}}\n',
    "js/count/package.json": '{"name":"tally-count","version":"1.0.0","license":"Apache-2.0","main":"index.js"}\n',
    "js/count/index.js": "exports.count = (text) => ({ lines: text.split('\\n').length - 1, words: text.split(/\\s+/).filter(Boolean).length });\n",
    "js/tally.test.js": "const test = require('node:test');\nconst assert = require('node:assert');\nconst { count } = require('tally-count');\n"
    "test('counts lines', () => assert.strictEqual(count('a\\nb\\n').lines, 2));\n"
    "test('counts words', () => assert.strictEqual(count('one two  three').words, 3));\n",
    "rs/Cargo.toml": '[package]\nname = "tally"\nversion = "1.0.0"\nedition = "2021"\n\n[workspace]\n',
    "rs/src/lib.rs": "/// Counts the words of `text`.\npub fn words(text: &str) -> usize {\n    text.split_whitespace().count()\n}\n\n"
    '#[test]\nfn counts_words() {\n    assert_eq!(words("one two  three"), 3);\n}\n',
    "README.md": "# tally\n\nCounts lines, words and bytes.\n" + "A line of text with 7 words.\n" * 400,
}
for counter in COUNTERS:
    FILES[f"c/{counter}.c"] = f'#include "tally.h"\nlong tally_{counter}(const char *text, size_t n) {{\n  long total = 0;\n  {C_BODY[counter]}\n  return total;\n}}\n'

# Each commit: its subject, and edits (file, old, new). An edit undoes an earlier one where its subject says so.
CHANGES = [
    ("Count lines, words and bytes", []),
    ("Say more in the README", [("README.md", "# tally\n", "# tally\n\nA small counter.\n")]),
    ("Count no-break spaces as blanks", [("c/blanks.c", "text[i] == ' '", "text[i] == ' ' || text[i] == (char)0xa0")]),
    ("Return a size from tally_words", [("c/words.c", "return total;", "return total")]),
    ("Fix the build of words.c", [("c/words.c", "return total\n", "return total;\n")]),
    ("Count characters in the web version", [("js/count/index.js", "lines: text", "chars: text.length, lines: text")]),
    ("Count every word once", [("js/count/index.js", ".filter(Boolean).length", ".length - 1")]),
    ("Undo: count every word once", [("js/count/index.js", ".length - 1 });", ".filter(Boolean).length });")]),
    ("Stop at the first empty line", [("c/main.c", "  return 0;", "  for (;;) {}\n  return 0;")]),
    ("Do not wait for ever after the last line", [("c/main.c", "  for (;;) {}\n", "")]),
    ("Make the speed test stricter", [("py/test_tally.py", "150_000", "90_000")]),
    ("Document the crate", [("rs/src/lib.rs", "/// Counts", "/// Counts, by Unicode white space,")]),
    ("Count letters of any case", [("c/letters.c", "text[i] | 32", "text[i] | 0x20")]),
    ("Split on single blanks", [("rs/src/lib.rs", "split_whitespace()", "split(' ')")]),
    ("Undo: split on single blanks", [("rs/src/lib.rs", "split(' ')", "split_whitespace()")]),
    ("Give the speed test some air", [("py/test_tally.py", "90_000", "150_000")]),
    ("Rename a variable", [("c/longest.c", "here", "run")]),
    ("Release 1.1", [("js/package.json", "1.0.0", "1.1.0"), ("rs/Cargo.toml", "1.0.0", "1.1.0")]),
]


def write(folder):
    for name, text in FILES.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def change(folder, edits):
    for name, old, new in edits:
        path = Path(folder) / name
        text = path.read_text()
        if old not in text:
            raise ValueError(f"{name}: nothing to replace for {old!r}")
        path.write_text(text.replace(old, new))
