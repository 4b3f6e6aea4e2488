// The part of RFC 9061's module ietf-i2nsf-ikeless that a node has a meaning for, as schema nodes, so that paths, bodies and
// answers are treated as those of any other module; and what is known of the rest, so that it can be refused by its name.

import type { SchemaModule, SchemaNode } from "../../config/schema.js";
import type { Json } from "../json.js";

export const IKELESS = "ietf-i2nsf-ikeless";
/** The module that it takes its types from. */
export const ikelessTypes = "ietf-i2nsf-ikec";
export const ikelessNamespace = `urn:ietf:params:xml:ns:yang:${IKELESS}`;
const revision = "2021-07-14";

export type ValueKind =
  | "string"
  | "boolean"
  | "uint8"
  | "uint16"
  | "uint32"
  | "uint64"
  | "prefix"
  | "address"
  | "hex"
  | "protocol"
  | readonly string[];

export interface IkelessNode extends SchemaNode {
  children: IkelessNode[];
  /** Of a leaf or leaf-list; a list stands for one of the names in it. */
  value?: ValueKind;
  /** Of a leaf: what it means to leave it out, where that is told. */
  implied?: Json;
  /** Of a leaf: all that a node can do. It is taken, and never told. */
  only?: readonly Json[];
  /** Nothing that a node can do. */
  never?: true;
  /** Of a container: what is left out of it is not missing when nothing of it is there. */
  optional?: true;
}

type More = Partial<Omit<IkelessNode, "name" | "kind" | "children">>;

function make(name: string, kind: SchemaNode["kind"], more: More, children: IkelessNode[]): IkelessNode {
  return {
    name,
    kind,
    module: IKELESS,
    config: true,
    mandatory: false,
    presence: false,
    keys: [],
    orderedByUser: false,
    minElements: 0,
    unique: [],
    denyAll: false,
    must: [],
    path: "",
    ...more,
    children,
  };
}

const container = (name: string, children: IkelessNode[], more: More = {}) =>
  make(name, "container", more, children);
const list = (name: string, keys: string[], children: IkelessNode[]) =>
  make(name, "list", { keys, orderedByUser: keys[0] === "name" }, children);
const leaf = (name: string, value: ValueKind, more: More = {}) => make(name, "leaf", { value, ...more }, []);
const only = (name: string, value: ValueKind, ...values: Json[]) => leaf(name, value, { only: values });
const leafList = (name: string, value: ValueKind, more: More = {}) =>
  make(name, "leaf-list", { value, ...more }, []);
const never = (name: string) => container(name, [], { never: true });

const mandatory = { mandatory: true };
const secret = { denyAll: true };
const modes = ["transport", "tunnel"] as const;

const ports = (name: string) =>
  list(name, ["start", "end"], [leaf("start", "uint16", mandatory), leaf("end", "uint16", mandatory)]);

const trafficSelector = () =>
  container("traffic-selector", [
    leaf("local-prefix", "prefix", mandatory),
    leaf("remote-prefix", "prefix", mandatory),
    leaf("inner-protocol", "protocol", { implied: "any" }),
    ports("local-ports"),
    ports("remote-ports"),
  ]);

const tunnel = () =>
  container("tunnel", [
    leaf("local", "address", mandatory),
    leaf("remote", "address", mandatory),
    leaf("df-bit", ["clear", "set", "copy"]),
    only("bypass-dscp", "boolean", true),
    never("dscp-mapping"),
    never("dscp-values"),
  ]);

const noLifetime = (name: string) =>
  container(name, [
    only("time", "uint32", 0),
    only("bytes", "uint64", "0"),
    only("packets", "uint32", 0),
    only("idle", "uint32", 0),
    never("action"),
  ]);

const spdEntry = () =>
  list(
    "spd-entry",
    ["name"],
    [
      leaf("name", "string"),
      leaf("direction", ["inbound", "outbound"], mandatory),
      leaf("reqid", "uint64", { implied: "0" }),
      container("ipsec-policy-config", [
        leaf("anti-replay-window-size", "uint32"),
        trafficSelector(),
        container("processing-info", [
          leaf("action", ["protect", "bypass", "discard"], { implied: "discard" }),
          container("ipsec-sa-cfg", [
            only("pfp-flag", "boolean", false),
            leaf("ext-seq-num", "boolean"),
            only("seq-overflow", "boolean", false),
            only("stateful-frag-check", "boolean", false),
            leaf("mode", modes, { implied: "transport" }),
            leaf("protocol-parameters", ["esp"], { implied: "esp" }),
            container(
              "esp-algorithms",
              [
                leafList("integrity", "uint16"),
                list(
                  "encryption",
                  ["id"],
                  [
                    leaf("id", "uint16"),
                    leaf("algorithm-type", "uint16", { implied: 20 }),
                    leaf("key-length", "uint16", { implied: 128 }),
                  ],
                ),
                only("tfc-pad", "boolean", false),
              ],
              { optional: true },
            ),
            tunnel(),
          ]),
        ]),
      ]),
    ],
  );

const sadEntry = () =>
  list(
    "sad-entry",
    ["name"],
    [
      leaf("name", "string"),
      leaf("reqid", "uint64", { implied: "0" }),
      container("ipsec-sa-config", [
        leaf("spi", "uint32", mandatory),
        leaf("ext-seq-num", "boolean", { implied: true }),
        only("seq-overflow", "boolean", false),
        leaf("anti-replay-window-size", "uint32", { implied: 64 }),
        trafficSelector(),
        leaf("protocol-parameters", ["esp"], { implied: "esp" }),
        leaf("mode", modes, { implied: "transport" }),
        container("esp-sa", [
          container("encryption", [
            leaf("encryption-algorithm", "uint16", { implied: 12 }),
            leaf("key", "hex", { ...secret, ...mandatory }),
            container("iv", [], { never: true, denyAll: true }),
          ]),
          container("integrity", [leaf("integrity-algorithm", "uint16"), leaf("key", "hex", secret)], {
            optional: true,
          }),
        ]),
        noLifetime("sa-lifetime-hard"),
        noLifetime("sa-lifetime-soft"),
        tunnel(),
        container("encapsulation-type", [
          only("espencap", ["espintcp", "espinudp", "none"], "none"),
          only("sport", "uint16", 4500),
          only("dport", "uint16", 4500),
          never("oaddr"),
        ]),
      ]),
      container(
        "ipsec-sa-state",
        [
          container("sa-lifetime-current", [
            leaf("time", "uint32"),
            leaf("bytes", "uint64"),
            leaf("packets", "uint32"),
            leaf("idle", "uint32"),
          ]),
          container("replay-stats", [
            container("replay-window", [leaf("w", "uint32"), leaf("t", "uint64"), leaf("b", "uint64")]),
            leaf("seq-number-counter", "uint64"),
          ]),
        ],
        { config: false },
      ),
    ],
  );

/** `/ietf-i2nsf-ikeless:ipsec-ikeless`. */
export const ikelessRoot = container("ipsec-ikeless", [
  container("spd", [spdEntry()]),
  container("sad", [sadEntry()]),
]);
settle(ikelessRoot, undefined, `/${IKELESS}:ipsec-ikeless`);

/** Gives each node its place; what is below state is state. */
function settle(node: IkelessNode, parent: IkelessNode | undefined, path: string): void {
  node.path = path;
  if (parent) node.parent = parent;
  if (parent && !parent.config) node.config = false;
  for (const child of node.children) settle(child, node, `${path}/${child.name}`);
}

/** The module, in the form of those that libyang has compiled. */
export const ikelessModule: SchemaModule = {
  name: IKELESS,
  namespace: ikelessNamespace,
  revision,
  prefix: "nsfikels",
  description: undefined,
  implemented: true,
  data: [ikelessRoot],
  rpcs: [],
  notifications: [],
};

export function childOf(node: IkelessNode, name: string): IkelessNode | undefined {
  return node.children.find((child) => child.name === name);
}
