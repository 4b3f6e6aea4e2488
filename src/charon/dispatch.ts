// One decoded call into one call of the Kernel, and its answer back into a message. No I/O: what arrives and where the
// answer goes is the service's business.

import { type Answer, type Kernel, type SaUsage, Status } from "../ipsec/kernel.js";
import type { Call, CallAnswer, Request } from "./protocol.js";

/** All calls but hello, which opens a session and asks nothing of the Kernel. */
export type KernelRequest = Exclude<Request, { call: "hello" }>;

/** What calls of the Kernel may give beyond an Answer. */
type Result = Answer & {
  spi?: number;
  cpi?: number;
  usage?: SaUsage;
  idleSeconds?: number | undefined;
};

/** An answer without results. */
export function answerWith(
  call: Exclude<Call, "hello">,
  id: number,
  status: Status,
  reason: string,
): CallAnswer {
  return { call, id, status, reason, value: 0, bytes: 0n, packets: 0n, idle: undefined };
}

/**
 * Asks the Kernel. Whatever it throws is passed on: an implementation that breaks its contract is the service's to
 * report.
 */
export function dispatch(kernel: Kernel, request: KernelRequest, session: bigint): CallAnswer {
  const result = ask(kernel, request, session);
  const answer = answerWith(request.call, request.id, result.status, result.reason ?? "");
  if (result.status !== Status.success) return answer;
  switch (request.call) {
    case "get_spi":
      return { ...answer, value: required(result.spi, "getSpi", "an SPI") };
    case "get_cpi":
      return { ...answer, value: required(result.cpi, "getCpi", "a CPI") };
    case "query_sa": {
      const usage = required(result.usage, "querySa", "usage");
      return { ...answer, bytes: usage.bytes, packets: usage.packets, idle: usage.idleSeconds };
    }
    case "query_policy":
      return { ...answer, idle: result.idleSeconds };
    default:
      return answer;
  }
}

function ask(kernel: Kernel, request: KernelRequest, session: bigint): Result {
  switch (request.call) {
    case "get_spi":
      return kernel.getSpi(request.body, session);
    case "get_cpi":
      return kernel.getCpi(request.body, session);
    case "add_sa":
      if (request.body.cpu !== undefined) {
        return {
          status: Status.notSupported,
          reason: `an SA for CPU ${request.body.cpu} only: set per_cpu_sas = no`,
        };
      }
      return kernel.addSa(request.body, session);
    case "update_sa":
      return kernel.updateSa(request.body, session);
    case "query_sa":
      return kernel.querySa(request.body.id);
    case "del_sa":
      return kernel.deleteSa(request.body.id, session);
    case "flush_sas":
      return kernel.flushSas(session);
    case "add_policy":
      return kernel.addPolicy(request.body, session);
    case "query_policy":
      return kernel.queryPolicy(request.body);
    case "del_policy":
      return kernel.deletePolicy(request.body, session);
    case "flush_policies":
      return kernel.flushPolicies(session);
  }
}

function required<T>(value: T | undefined, method: string, what: string): T {
  if (value === undefined) throw new Error(`${method} succeeded without ${what}`);
  return value;
}
