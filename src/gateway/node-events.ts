// What a node tells those who want to hear of it: the notifications of the model (yang/vita-gateway.yang), with its leaves.
// Changes of the configuration are told by the datastore.

import { EventEmitter } from "node:events";

export interface SaEvent {
  direction: "in" | "out";
  /** Eight hexadecimal digits. */
  spi: string;
  src: string;
  dst: string;
  reqid: number;
}

export interface NodeEventMap {
  "sa-up": [SaEvent];
  "sa-down": [SaEvent];
  /** One has taken the place of another one, which goes in a moment. */
  "sa-rekeyed": [SaEvent & { "old-spi": string }];
  "port-up": [{ interface: string }];
  "port-down": [{ interface: string }];
}

export class NodeEvents extends EventEmitter<NodeEventMap> {}
