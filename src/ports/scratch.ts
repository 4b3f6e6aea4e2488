// Memory for the arguments of system calls that contain pointers. For set-up and control: the calls are synchronous, so
// one piece of memory serves them all, and what was placed is void with the next call of `place`.

import { MAP_PRIVATE_ANONYMOUS, mmap, window } from "../native/libc.js";

const BYTES = 512 << 10;

let scratch: { address: bigint; bytes: Uint8Array } | undefined;

function memory() {
  if (!scratch) {
    const address = mmap(BYTES, MAP_PRIVATE_ANONYMOUS);
    scratch = { address, bytes: new Uint8Array(window(address, BYTES)) };
  }
  return scratch;
}

/** Copies the parts to memory that foreign code may read and write, and returns their addresses. */
export function place(...parts: Uint8Array[]): bigint[] {
  const { address, bytes } = memory();
  let used = 0;
  return parts.map((part) => {
    const at = used;
    bytes.set(part, at);
    used += (part.length + 7) & ~7;
    return address + BigInt(at);
  });
}

/** A copy of what stands at an address that `place` returned. */
export function fetch(at: bigint, length: number): Uint8Array {
  const { address, bytes } = memory();
  const start = Number(at - address);
  return bytes.slice(start, start + length);
}
