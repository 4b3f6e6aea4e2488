// What is to be done to come from the SAs and policies that are there to those that are wanted.

import type { AddSaRequest, PolicyRequest, SaId } from "../ipsec/kernel.js";
import { formatAddress } from "../net/address.js";
import { isSameSa } from "./static-sa.js";
import type { Unit, Wanted } from "./static-units.js";

export type WantedSa = Wanted<AddSaRequest>;
export type WantedPolicy = Wanted<PolicyRequest>;

/** What a session has in the kernel. */
export interface Installed {
  /** By `saKey`. */
  readonly sas: ReadonlyMap<string, AddSaRequest>;
  /** By `policyKey`. */
  readonly policies: ReadonlyMap<string, PolicyRequest>;
}

export interface Plan {
  readonly newSas: readonly WantedSa[];
  /** Those whose ids are in use, with what has them. */
  readonly changedSas: readonly { wanted: WantedSa; old: AddSaRequest }[];
  readonly oldSas: readonly AddSaRequest[];
  readonly newPolicies: readonly WantedPolicy[];
  readonly oldPolicies: readonly PolicyRequest[];
}

/** @param wanted units that are to be there, all of them */
export function planChanges({ sas, policies }: Installed, wanted: Iterable<Unit>): Plan {
  const newSas: WantedSa[] = [];
  const changedSas: { wanted: WantedSa; old: AddSaRequest }[] = [];
  const newPolicies = new Map<string, WantedPolicy>();
  const keptSas = new Set<string>();
  const keptPolicies = new Set<string>();
  for (const unit of wanted) {
    for (const each of unit.sas) {
      const key = saKey(each.request.id, each.request.inbound);
      const old = sas.get(key);
      keptSas.add(key);
      if (!old) newSas.push(each);
      else if (old !== each.request && !isSameSa(old, each.request)) changedSas.push({ wanted: each, old });
    }
    for (const each of unit.policies) {
      const key = policyKey(each.request);
      keptPolicies.add(key);
      if (!policies.has(key)) newPolicies.set(key, each);
    }
  }
  return {
    // What comes in must be understood before the peer can be told to send it.
    newSas: newSas.sort((a, b) => Number(b.request.inbound) - Number(a.request.inbound)),
    changedSas: changedSas.sort((a, b) => Number(b.old.inbound) - Number(a.old.inbound)),
    oldSas: rest(sas, keptSas).sort((a, b) => Number(a.inbound) - Number(b.inbound)),
    newPolicies: [...newPolicies.values()],
    oldPolicies: rest(policies, keptPolicies),
  };
}

function rest<Value>(all: ReadonlyMap<string, Value>, kept: ReadonlySet<string>): Value[] {
  return [...all].filter(([key]) => !kept.has(key)).map(([, value]) => value);
}

/** What names an SA: inbound the SPI alone. */
export function saKey({ spi, dst, mark, interfaceId }: SaId, inbound: boolean): string {
  if (inbound) return `in ${spi}`;
  return `out ${spi} ${formatAddress(dst.address)} ${mark.value}/${mark.mask} ${interfaceId}`;
}

const keys = new WeakMap<PolicyRequest, string>();

/** Everything that makes a policy entry the one it is. */
export function policyKey(request: PolicyRequest): string {
  const known = keys.get(request);
  if (known !== undefined) return known;
  const { id, src, dst, ...entry } = request;
  const bytes = (address: Uint8Array) => Buffer.from(address).toString("latin1");
  const selectors = [id.srcSelector, id.dstSelector].flatMap((selector) => [
    bytes(selector.from),
    bytes(selector.to),
    selector.protocol,
    selector.fromPort,
    selector.toPort,
  ]);
  const key = JSON.stringify([
    id.direction,
    ...selectors,
    id.mark.value,
    id.mark.mask,
    id.interfaceId,
    id.interface,
    bytes(src.address),
    bytes(dst.address),
    entry.type,
    entry.priorityClass,
    entry.manualPriority,
    entry.mode,
    entry.reqid,
    entry.espSpi,
  ]);
  keys.set(request, key);
  return key;
}
