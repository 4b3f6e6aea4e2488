// Fills the SAD and the SPD in a directory until they take no more; prints what was said.

import { join } from "node:path";
import { NodeEngine } from "../../src/ipsec/aead-node.js";
import { PseudoKernel } from "../../src/ipsec/pseudo-kernel.js";
import { Sad } from "../../src/ipsec/sad.js";
import { Spd } from "../../src/ipsec/spd.js";
import { policyRequest, saId, saRequest } from "../../src/ipsec/testing/requests.js";

const directory = process.argv[2];

function fill(): object {
  let sad: Sad;
  let spd: Spd;
  try {
    spd = Spd.create(join(directory, "spd"), 65_536);
    sad = Sad.create(join(directory, "sad"), 8192, 0);
  } catch (error) {
    return { error: (error as Error).message };
  }
  const kernel = new PseudoKernel({ sad, spd, engine: new NodeEngine(sad), now: () => 1 });
  const session = 1n;
  let sas = 0;
  let policies = 0;
  let saReason: string | undefined;
  let policyReason: string | undefined;
  for (; saReason === undefined; sas++)
    saReason = kernel.addSa(saRequest({ spi: 0x1000 + sas, reqid: sas + 1 }), session).reason;
  for (; policyReason === undefined; policies++)
    policyReason = kernel.addPolicy(
      policyRequest({ from: "10.0.0.0/24", to: `10.1.${policies >> 8}.${policies & 255}/32` }),
      session,
    ).reason;
  kernel.deleteSa(saId(0x1000));
  sad.reclaim();
  const again = kernel.addSa(saRequest({ spi: 0x9999, reqid: 1 }), session).status;
  sad.wipe();
  return { sas: sas - 1, policies: policies - 1, saReason, policyReason, again };
}

process.stdout.write(JSON.stringify(fill()));
