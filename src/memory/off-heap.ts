// Small arrays for the data path. V8 keeps typed arrays of up to 64 bytes on its own heap, where they move, so that each
// access reads where the array is. One that has a buffer to begin with stays where it is, and its address is compiled in.

export function offHeapInt32(length: number): Int32Array {
  return new Int32Array(new ArrayBuffer(4 * length));
}

export function offHeapUint32(length: number): Uint32Array {
  return new Uint32Array(new ArrayBuffer(4 * length));
}
