// Security policies: their selectors must be some, fit each other, and not be those of a policy that does something else.

import { type IpSelector, parseSelector, selectorPairs } from "../net/ip-selector.js";
import type { Configuration, SecurityPolicy } from "./configuration.js";
import { systemNames } from "./system-names.js";
import { entryAt, type Tell } from "./tell.js";

/** Of policies that nothing is wrong with by themselves, the traffic that they are for. Entries do not change. */
const known = new WeakMap<SecurityPolicy, readonly string[]>();

export function checkPolicies({ "security-policy": policies }: Configuration, tell: Tell): void {
  const taken = new Map<string, SecurityPolicy>();
  for (const policy of policies) {
    const traffic = known.get(policy) ?? trafficOf(policy, tell);
    if (!traffic) continue;
    known.set(policy, traffic);
    refuseTaken(policy, traffic, taken, tell);
  }
}

/** Every selector of one side with every one of the other that go together; undefined when something is wrong. */
function trafficOf(policy: SecurityPolicy, tell: Tell): string[] | undefined {
  const at = entryAt("security-policy", "id", policy.id);
  const [local, remote] = (["local-ts", "remote-ts"] as const).map((leaf) =>
    policy[leaf].flatMap((text) => {
      const selector = parseSelector(text, systemNames);
      if (selector) return selector;
      const why = "is not a traffic selector: an address, a prefix or a range, and [protocol/port] behind it";
      tell(`${at}/${leaf}`, why, text);
      return [];
    }),
  );
  if (local.length < policy["local-ts"].length || remote.length < policy["remote-ts"].length)
    return undefined;
  const pairs = selectorPairs(local, remote);
  if (pairs.length === 0) {
    tell(`${at}/remote-ts`, "has no selector of the address family and protocol of one in local-ts");
    return undefined;
  }
  const rest = `${policy.priority ?? ""} ${policy["if-id"]} ${policy.mark}`;
  return pairs.map(([ours, theirs]) => `${textOf(ours)} ${textOf(theirs)} ${rest}`);
}

const textOf = ({ from, to, protocol, fromPort, toPort }: IpSelector) =>
  `${from}-${to}[${protocol}/${fromPort}-${toPort}]`;

/** @param taken policies by the traffic that they are for, which are added to */
function refuseTaken(
  policy: SecurityPolicy,
  traffic: readonly string[],
  taken: Map<string, SecurityPolicy>,
  tell: Tell,
): void {
  for (const each of traffic) {
    const other = taken.get(each);
    if (!other) taken.set(each, policy);
    else if (other.action !== policy.action) {
      const where = `${entryAt("security-policy", "id", other.id)}/action`;
      const why = `is not what ${where} says for the same selectors: give the two different priorities`;
      tell(`${entryAt("security-policy", "id", policy.id)}/action`, why, policy.action);
      return;
    }
  }
}
