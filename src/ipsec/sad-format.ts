// The text of docs/sad-format.md: how other programs read the SAD and the SPD. `npm run docs` writes it.

import { countersFile } from "../engine/counters.js";
import { describeStruct } from "../memory/layout.js";
import { portsFile } from "../ports/packet-pool.js";
import { describeSad } from "./sad-layout.js";
import { describeSpd } from "./spd-layout.js";

const introduction = `# The SAD and the SPD in shared memory

Generated from the definitions in \`src/ipsec/sad-layout.ts\`, \`src/ipsec/spd-layout.ts\`, \`src/engine/counters.ts\` and
\`src/ports/packet-pool.ts\` by \`npm run docs\`; the code works with the very same offsets.

The files are \`sad\`, \`spd\`, \`counters-N\` (one a worker), and \`ports\` and \`frames\` (the workers' packet memory) in \`$VITA_RUN_DIR/<node>/\`, mode 0600 in a directory of mode
0700. Where that directory is not in memory they are symbolic links to files below \`/dev/shm\`. Map them with \`MAP_SHARED\`.
All numbers are little-endian unless their text says otherwise, and aligned to their size; all offsets are in bytes.
Check magic and version before anything else, and refuse what you do not know.

## Who writes what

- **The supervisor** alone allocates, fills and frees slots and entries and keeps the SPI index.
- **Workers** read, and change what traffic changes: sequence numbers (atomically), the replay window, counters (each worker
  in its own place of \`traffic\` or \`moreTraffic\`), the time of last use, and who has the SA's lock.
- **Others** map read-only. **The SAD holds keys**: a program that only wants counters should not copy slots whole.

## How to read safely

- *A slot's life.* A slot is filled while its state is free or larval and becomes visible by one store to \`state\`. Keys and
  selectors stay as they are until it is freed; a rekey is another slot. To be freed a slot becomes dying, and is zeroed and
  free once every worker that is awake has passed the \`epoch\` of that moment. A reader that is no worker has no epoch: it
  reads \`generation\` and \`state\` before and after, and throws away what it read when one of them changed.
- *What can change in an active slot.* The end points and the outer header, under the sequence lock \`version\`: read it, and
  again while it is odd; read the fields; read it once more, and begin anew if it is another. Entries of the SPD change under
  their own \`version\` in the same way, and \`log\` in the header names the ones that changed last.
- *Extensions.* A large replay bitmap and many selectors have no room in a slot: \`ringAt\` and \`selectorsAt\` say where they
  are, and a slot with state 4 is no SA.
- *Sequence numbers.* The last one reserved has \`sequenceLow\` as its low half and \`sequenceHighA\` (low half below 2^31) or
  \`sequenceHighB\` (otherwise) as its high half. A worker moves \`sequenceLow\` on before it uses the numbers, so that no
  number is used twice whoever is killed; holes are harmless. A reader reads \`sequenceLow\`, the half that counts, and \`sequenceLow\`
  again, and begins anew if that is another. \`src/ipsec/sequence.ts\` says why two high halves are enough.
- *The lock of an SA* is of no concern to readers. Between workers it guards the replay window, and limits of bytes and packets.
- *Replay window.* A ring of bits (RFC 6479) at \`ringAt\`: number n is bit n mod 32 of word (n / 32) and \`replayMask\`. The words ahead of
  the highest number are cleared before it moves.
`;

export function sadFormat(): string {
  return `${[introduction, describeSad(), describeSpd(), describeStruct(countersFile), describeStruct(portsFile)].join("\n").trimEnd()}\n`;
}
