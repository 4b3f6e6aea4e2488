// Packet sizes of the benchmarks: Ethernet frames in bytes, without FCS.

export type FrameSize = "60" | "IMIX" | "1500";

/** The sizes of a run of frames that is repeated. IMIX: seven of 54 bytes (sent as 60), four of 590, one of 1514. */
export function frameSizes(size: FrameSize): number[] {
  if (size !== "IMIX") return [Number(size)];
  return [54, 590, 54, 54, 590, 54, 54, 590, 54, 54, 590, 1514];
}

export function parseSize(text: string): FrameSize {
  if (text === "60" || text === "IMIX" || text === "1500") return text;
  throw new Error(`--size "${text}" is none of 60, IMIX and 1500`);
}
