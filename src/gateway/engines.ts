// Which crypto engine a node uses, and how to make it. The choice stands in the SAD's header: the expanded keys in its
// slots are the engine's.

import type { Configuration } from "../config/configuration.js";
import type { AeadEngine } from "../ipsec/aead.js";
import { IpsecMbEngine } from "../ipsec/aead-ipsec-mb.js";
import { NodeEngine } from "../ipsec/aead-node.js";
import type { Sad } from "../ipsec/sad.js";
import type { Frames } from "../memory/frames.js";
import { ipsecMbUnavailable } from "../native/ipsec-mb.js";
import type { Logger } from "./log.js";

/** @throws when the configuration asks for libIPSec_MB and it cannot be had */
export function chooseEngine(engine: Configuration["engine"], log: Logger): number {
  if (engine === "node") return NodeEngine.id;
  const reason = ipsecMbUnavailable();
  if (reason === undefined) return IpsecMbEngine.id;
  if (engine === "ipsec-mb") throw new Error(`engine ipsec-mb: ${reason}`);
  log.warn(`libIPSec_MB cannot be used (${reason}): node:crypto does its work, some fifty times slower`);
  return NodeEngine.id;
}

/** @param frames for a worker; the supervisor only expands keys */
export function makeEngine(sad: Sad, frames?: Frames): AeadEngine {
  return sad.engine === NodeEngine.id ? new NodeEngine(sad, frames) : new IpsecMbEngine(sad, frames);
}
