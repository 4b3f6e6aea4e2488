// V8 options of the processes that move packets. An app's `push` is compiled with its app as a constant, and so are the
// typed arrays in it; only what is inlined there gains by that, and V8's usual bounds for inlining are too small for it.

export const V8_FLAGS: readonly string[] = [
  "--max-inlined-bytecode-size=2000",
  "--max-inlined-bytecode-size-cumulative=20000",
  "--max-optimized-bytecode-size=200000",
  // What V8's middle compiler has made of a hot loop stays for long where the best one would come at once without it: Node 24
  // and 26 are 10 to 15 % faster so (`bench -- node`), and Node 20 has none.
  "--no-maglev",
  // A worker makes hardly any garbage; what it makes when policies change should not lie about.
  "--max-semi-space-size=1",
];
