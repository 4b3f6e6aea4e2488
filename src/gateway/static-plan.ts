// What is to be done to come from the SAs and policies that are there to those that are wanted.

import type { AddSaRequest, PolicyRequest } from "../ipsec/kernel.js";
import { policyKey, saKey } from "./static-keys.js";
import { isSameSa } from "./static-sa.js";
import type { Unit, Wanted, WantedSa } from "./static-units.js";

export type WantedPolicy = Wanted<PolicyRequest>;
/** What is there, by its key. */
export type Present<Request> = readonly [key: string, request: Request];

/** What a session has in the kernel, by `saKey` and `policyKey`. */
export class Installed {
  readonly sas = new Map<string, AddSaRequest>();
  readonly policies = new Map<string, PolicyRequest>();
  /** Units all of whose SAs and policies are there. Undefined: nobody has compared yet. */
  units: ReadonlyMap<string, Unit> | undefined;

  constructor(sas: Iterable<AddSaRequest>, policies: Iterable<PolicyRequest>) {
    for (const request of sas) this.sas.set(saKey(request), request);
    for (const request of policies) this.policies.set(policyKey(request), request);
  }
}

export interface Plan {
  readonly newSas: readonly WantedSa[];
  /** Those whose ids are in use, with what has them. */
  readonly changedSas: readonly { wanted: WantedSa; old: AddSaRequest }[];
  readonly oldSas: readonly Present<AddSaRequest>[];
  readonly newPolicies: readonly WantedPolicy[];
  readonly oldPolicies: readonly Present<PolicyRequest>[];
}

/** @param wanted units that are to be there, all of them */
export function planChanges(installed: Installed, wanted: ReadonlyMap<string, Unit>): Plan {
  const { sas, policies, units } = installed;
  // Of units that were there before nothing needs to be looked at, but that they keep what they have where others lose it.
  const fresh: Unit[] = [];
  for (const [name, unit] of wanted) if (units?.get(name) !== unit) fresh.push(unit);
  const former = units ? [...units].filter(([name, unit]) => wanted.get(name) !== unit) : undefined;
  const oldSas = new Map(former?.flatMap(([, { sas: own }]) => pairsOf(own)) ?? sas);
  const oldPolicies = new Map(former?.flatMap(([, { policies: own }]) => pairsOf(own)) ?? policies);
  if (oldSas.size + oldPolicies.size > 0)
    for (const unit of wanted.values()) {
      for (const { key } of unit.sas) oldSas.delete(key);
      for (const { key } of unit.policies) oldPolicies.delete(key);
    }

  const newSas: WantedSa[] = [];
  const changedSas: { wanted: WantedSa; old: AddSaRequest }[] = [];
  const newPolicies = new Map<string, WantedPolicy>();
  for (const unit of fresh) {
    for (const each of unit.sas) {
      const old = sas.get(each.key);
      if (!old) newSas.push(each);
      else if (!isSameSa(old, each.request)) changedSas.push({ wanted: each, old });
    }
    for (const each of unit.policies) if (!policies.has(each.key)) newPolicies.set(each.key, each);
  }
  return {
    // What comes in must be understood before the peer can be told to send it.
    newSas: newSas.sort((a, b) => Number(b.request.inbound) - Number(a.request.inbound)),
    changedSas: changedSas.sort((a, b) => Number(b.old.inbound) - Number(a.old.inbound)),
    oldSas: [...oldSas].sort(([, a], [, b]) => Number(a.inbound) - Number(b.inbound)),
    newPolicies: [...newPolicies.values()],
    oldPolicies: [...oldPolicies],
  };
}

function pairsOf<Request>(wanted: readonly Wanted<Request>[]): [string, Request][] {
  return wanted.map(({ key, request }) => [key, request]);
}
