// What a node tells of itself in the words of the model: the content of `/gateway-state` as JSON (RFC 7951, where numbers of
// 64 bits are strings). Keys are not part of it.

import type { Datastore } from "../config/datastore.js";
import type { IkeState } from "./ike-state.js";
import type { NodeState, PolicyState, SaReport } from "./state.js";

export interface GatewayStateParts {
  node: NodeState;
  started: Date;
  ike: IkeState;
  datastore: Pick<Datastore, "number" | "confirmBy" | "history">;
}

export function gatewayState({ node, started, ike, datastore }: GatewayStateParts): object {
  const { number, confirmBy } = datastore;
  return {
    started: started.toISOString(),
    worker: node.workers,
    counter: Object.entries(node.counters).map(([name, value]) => ({ name, value: String(value) })),
    sa: node.sas.map(saState),
    policy: node.policies.map(policyState),
    ike,
    commit: {
      number,
      ...(confirmBy && { "confirm-by": confirmBy.toISOString() }),
      entry: datastore.history().map(({ number: of, time, user, comment }) => ({
        number: of,
        time: time.toISOString(),
        user,
        ...(comment !== undefined && { comment }),
      })),
    },
  };
}

function saState(sa: SaReport): object {
  return {
    direction: sa.direction,
    dst: sa.dst,
    spi: sa.spi,
    src: sa.src,
    state: sa.state,
    reqid: sa.reqid,
    mode: sa.mode,
    algorithm: sa.algorithm,
    esn: sa.esn,
    "replay-window": sa.replayWindow,
    ...(sa.mark !== null && { mark: sa.mark }),
    "if-id": sa.ifId,
    "src-ts": sa.srcSelectors,
    "dst-ts": sa.dstSelectors,
    packets: String(sa.packets),
    bytes: String(sa.bytes),
    sequence: sa.sequence,
    age: sa.ageSeconds,
    ...(sa.idleSeconds !== null && { idle: sa.idleSeconds }),
  };
}

function policyState(policy: PolicyState): object {
  return {
    direction: policy.direction,
    type: policy.type,
    class: policy.class,
    rank: policy.rank,
    src: policy.src,
    dst: policy.dst,
    "tunnel-src": policy.tunnelSrc,
    "tunnel-dst": policy.tunnelDst,
    mode: policy.mode,
    reqid: policy.reqid,
    ...(policy.spi !== null && { spi: policy.spi }),
    ...(policy.mark !== null && { mark: policy.mark }),
    "if-id": policy.ifId,
    ...(policy.protected !== null && { protected: policy.protected }),
  };
}
