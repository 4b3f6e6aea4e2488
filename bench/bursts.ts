// bursts: what each cipher costs a packet, encrypted and decrypted, and what bursts do for it. The engine alone, from
// TypeScript, jobs filled anew for each packet as the apps do. AES-CBC and the HMACs are chains of blocks: a packet alone
// waits for each of its blocks, while a burst keeps the lanes of the wide registers full.

import { parseArgs } from "node:util";
import { MAX_BATCH } from "../src/ipsec/aead.js";
import { suiteOf, suites } from "../src/ipsec/testing/suites.js";
import { BURSTS, EngineCipher, EngineRig, type Row } from "./engine-cipher.js";
import { type FrameSize, parseSize } from "./sizes.js";

export interface BurstsResult {
  bench: "bursts";
  rows: Row[];
  /** Time a packet in bursts of 1 over that in bursts of MAX_BATCH, by cipher and size. */
  gain: Record<string, number>;
  /** Time a packet of AES-128-GCM over that of the cipher, both in bursts of MAX_BATCH. */
  ofGcm: Record<string, number>;
  verified: boolean;
}

const ROUNDS = 9;

/** Ratios, rounded, by cipher and size. */
function ratios(rows: readonly Row[], of: (row: Row) => [Row, Row]): Record<string, number> {
  const whole = rows.filter(({ burst }) => burst === MAX_BATCH);
  return Object.fromEntries(
    whole.map((row) => {
      const [over, under] = of(row);
      return [`${row.cipher}/${row.size}`, Math.round((over.nsPerPacket / under.nsPerPacket) * 100) / 100];
    }),
  );
}

export function compareBursts(names: readonly string[], sizes: readonly FrameSize[]): BurstsResult {
  const rig = new EngineRig();
  try {
    const contenders = sizes.flatMap((size, s) =>
      names.map((name, n) => new EngineCipher(suiteOf(name), size, rig, 0x1000 + s * names.length + n)),
    );
    for (const contender of contenders) contender.warmUp();
    for (let i = 0; i < ROUNDS; i++) for (const contender of contenders) contender.round();
    const rows = contenders.flatMap((contender) => contender.rows());
    const find = (cipher: string, size: FrameSize, burst: number) =>
      rows.find((row) => row.cipher === cipher && row.size === size && row.burst === burst);
    return {
      bench: "bursts",
      rows,
      gain: ratios(rows, (row) => [find(row.cipher, row.size, 1)!, row]),
      ofGcm: names.includes("aes128gcm16")
        ? ratios(rows, (row) => [find("aes128gcm16", row.size, MAX_BATCH)!, row])
        : {},
      verified: contenders.every((contender) => contender.verify()),
    };
  } finally {
    rig.close();
  }
}

function table({ rows, gain, ofGcm, verified }: BurstsResult): string {
  const head = ["cipher", "size", ...BURSTS.map((burst) => `burst ${burst}`), "gain", "of GCM"];
  const lines = rows
    .filter(({ burst }) => burst === MAX_BATCH)
    .map(({ cipher, size }) => {
      const times = rows
        .filter((row) => row.cipher === cipher && row.size === size)
        .map(({ nsPerPacket }) => String(Math.round(nsPerPacket)));
      const key = `${cipher}/${size}`;
      return [cipher, size, ...times, `${gain[key]}`, `${ofGcm[key] ?? ""}`];
    });
  const text = [head, ...lines].map((line) =>
    line
      .map((cell, i) => cell.padEnd(i === 0 ? 18 : 10))
      .join("")
      .trimEnd(),
  );
  return `${text.join("\n")}\nns a packet, encrypted and decrypted; contents ${verified ? "verified" : "DIFFER"}`;
}

const DEFAULT = suites.map(({ name }) => name).filter((name) => !/^aes192/.test(name));

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      size: { type: "string", default: "60,IMIX,1500" },
      cipher: { type: "string", default: DEFAULT.join(",") },
      json: { type: "boolean", default: false },
    },
  });
  const result = compareBursts(values.cipher.split(","), values.size.split(",").map(parseSize));
  console.log(values.json ? JSON.stringify(result) : table(result));
  if (!result.verified) process.exitCode = 1;
}
