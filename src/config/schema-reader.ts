// Reads libyang's compiled schema into the plain objects of schema.ts.

import {
  type Address,
  BASE_TYPES,
  COMPILED,
  ENUM,
  EXTENSION,
  LYS,
  LYS_CONFIG_W,
  LYS_KEY,
  LYS_MAND_TRUE,
  LYS_ORDBY_USER,
  LYS_PRESENCE,
  LYSC_PATH_LOG,
  libyang,
  MODULE,
  MUST,
  NODE,
  PARSED,
  PATTERN,
  pointer,
  RANGE,
  sizedArray,
  structure,
  TYPE,
  textAt,
  WHEN,
} from "../native/libyang.js";
import type { SchemaModule, SchemaNode, SchemaType } from "./schema.js";

type Visit = (node: SchemaNode, address: Address) => void;

const kinds = new Map<number, SchemaNode["kind"]>([
  [LYS.container, "container"],
  [LYS.leaf, "leaf"],
  [LYS.leafList, "leaf-list"],
  [LYS.list, "list"],
  [LYS.choice, "choice"],
  [LYS.case, "case"],
  [LYS.anydata, "anydata"],
  [LYS.rpc, "rpc"],
  [LYS.action, "action"],
  [LYS.notification, "notification"],
  [LYS.input, "input"],
  [LYS.output, "output"],
]);

/** @param visit is told of every node, with the address that libyang has it at */
export function readModule(address: Address, context: Address, visit: Visit): SchemaModule {
  const view = structure(address, MODULE.size);
  const text = (offset: number) => textAt(pointer(view, offset));
  const compiled = pointer(view, MODULE.compiled);
  const roots = (offset: number) =>
    compiled === 0
      ? []
      : readSiblings(pointer(structure(compiled, COMPILED.size), offset), undefined, context, visit);
  return {
    name: text(MODULE.name) ?? "",
    namespace: text(MODULE.ns) ?? "",
    revision: text(MODULE.revision),
    prefix: text(MODULE.prefix) ?? "",
    description: text(MODULE.dsc),
    implemented: view.getUint8(MODULE.implemented) === 1,
    data: roots(COMPILED.data),
    rpcs: roots(COMPILED.rpcs),
    notifications: roots(COMPILED.notifs),
  };
}

function readSiblings(
  first: Address,
  parent: SchemaNode | undefined,
  context: Address,
  visit: Visit,
): SchemaNode[] {
  const nodes: SchemaNode[] = [];
  for (let address = first; address !== 0; address = pointer(structure(address, NODE.size), NODE.next))
    nodes.push(readNode(address, parent, context, visit));
  return nodes;
}

function readNode(
  address: Address,
  parent: SchemaNode | undefined,
  context: Address,
  visit: Visit,
): SchemaNode {
  const yang = libyang();
  const view = structure(address, NODE.size);
  const flags = view.getUint16(NODE.flags, true);
  const name = textAt(pointer(view, NODE.name)) ?? "";
  const path = yang.lysc_path(address, LYSC_PATH_LOG, null, 0);
  const kind = kinds.get(view.getUint16(NODE.nodetype, true));
  // Names and kinds that do not fit what libyang itself prints: this libyang's structures are other ones.
  if (kind === undefined || !path.endsWith(name))
    throw new Error(`libyang.so.2 is not one that Vita knows (at ${path}): use Debian's libyang2 2.1`);
  const module = textAt(pointer(structure(pointer(view, NODE.module), MODULE.size), MODULE.name)) ?? "";
  const node: SchemaNode = {
    name,
    module,
    kind,
    config: (flags & LYS_CONFIG_W) !== 0,
    mandatory: (flags & LYS_MAND_TRUE) !== 0,
    presence: kind === "container" && (flags & LYS_PRESENCE) !== 0,
    ...given("description", textAt(pointer(view, NODE.dsc))),
    ...given("reference", textAt(pointer(view, NODE.ref))),
    keys: [],
    orderedByUser: (kind === "list" || kind === "leaf-list") && (flags & LYS_ORDBY_USER) !== 0,
    minElements: 0,
    unique: [],
    denyAll: hasDenyAll(pointer(view, NODE.exts)),
    must: sizedArray(yang.lysc_node_musts(address), MUST.size).map((must) => {
      const at = structure(must, MUST.size);
      return {
        condition: yang.lyxp_get_expr(pointer(at, MUST.cond)),
        ...given("message", textAt(pointer(at, MUST.emsg))),
      };
    }),
    children: [],
    ...(parent ? { parent } : {}),
    path,
  };
  const [when] = sizedArray(yang.lysc_node_when(address), 8);
  if (when !== undefined) {
    const at = structure(pointer(structure(when, 8), 0), WHEN.size);
    node.when = yang.lyxp_get_expr(pointer(at, WHEN.cond));
  }
  if (kind === "leaf") readLeaf(node, address, context);
  if (kind === "leaf-list") readLeafList(node, address, context);
  // Input and output are part of an operation, and not among its children for libyang.
  node.children =
    kind === "rpc" || kind === "action"
      ? [0, 1].map((n) => readNode(inOut(address, n), node, context, visit))
      : readSiblings(yang.lysc_node_child(address), node, context, visit);
  node.children.push(...readSiblings(yang.lysc_node_actions(address), node, context, visit));
  if (kind === "list") readList(node, address);
  visit(node, address);
  return node;
}

/** struct lysc_node_action: the two stand behind what all nodes have and `when`. */
const inOut = (address: Address, n: number) => address + NODE.actionInput + n * NODE.inOutSize;

function given<Key extends string, Value>(key: Key, value: Value | undefined) {
  return (value === undefined ? {} : { [key]: value }) as { [K in Key]?: Value };
}

function readLeaf(node: SchemaNode, address: Address, context: Address): void {
  const view = structure(address, NODE.leafSize);
  Object.assign(node, given("units", textAt(pointer(view, NODE.leafUnits))));
  node.type = readType(pointer(view, NODE.leafType), typeName(view));
  const value = pointer(view, NODE.leafDefault);
  if (value !== 0) node.default = [libyang().lyd_value_get_canonical(context, value)];
}

function readLeafList(node: SchemaNode, address: Address, context: Address): void {
  const view = structure(address, NODE.leafListSize);
  Object.assign(node, given("units", textAt(pointer(view, NODE.leafUnits))));
  node.type = readType(pointer(view, NODE.leafType), typeName(view));
  readCounts(node, view, NODE.leafListMin, NODE.leafListMax);
  const values = sizedArray(pointer(view, NODE.leafListDefaults), 8);
  if (values.length > 0)
    node.default = values.map((value) =>
      libyang().lyd_value_get_canonical(context, pointer(structure(value, 8), 0)),
    );
}

function readList(node: SchemaNode, address: Address): void {
  const view = structure(address, NODE.listSize);
  readCounts(node, view, NODE.listMin, NODE.listMax);
  const nameOf = (leaf: Address) => textAt(pointer(structure(leaf, NODE.size), NODE.name)) ?? "";
  node.unique = sizedArray(pointer(view, NODE.listUniques), 8).map((unique) =>
    sizedArray(pointer(structure(unique, 8), 0), 8)
      .map((leaf) => nameOf(pointer(structure(leaf, 8), 0)))
      .join(" "),
  );
  for (let child = libyang().lysc_node_child(address); child !== 0; ) {
    const at = structure(child, NODE.size);
    if (at.getUint16(NODE.nodetype, true) === LYS.leaf && (at.getUint16(NODE.flags, true) & LYS_KEY) !== 0)
      node.keys.push(textAt(pointer(at, NODE.name)) ?? "");
    child = pointer(at, NODE.next);
  }
}

function readCounts(node: SchemaNode, view: DataView, min: number, max: number): void {
  node.minElements = view.getUint32(min, true);
  const most = view.getUint32(max, true);
  if (most !== 0 && most !== 0xffffffff) node.maxElements = most;
}

/** The name that the model gives to a leaf's type. */
function typeName(view: DataView): string | undefined {
  const parsed = pointer(view, NODE.priv);
  return parsed === 0 ? undefined : textAt(pointer(structure(parsed, PARSED.leafSize), PARSED.leafTypeName));
}

function readType(address: Address, name?: string): SchemaType {
  const base = BASE_TYPES[structure(address, TYPE.size).getUint32(TYPE.basetype, true)];
  const type: SchemaType = { base };
  // Prefixes say only where a name comes from.
  const typedef = name?.slice(name.indexOf(":") + 1);
  if (typedef !== undefined && typedef !== base) type.typedef = typedef;
  if (/^u?int/.test(base)) readRange(type, "ranges", structure(address, TYPE.numSize), base.startsWith("u"));
  if (base === "string") {
    const view = structure(address, TYPE.strSize);
    readRange(type, "lengths", view, true);
    const patterns = sizedArray(pointer(view, TYPE.patterns), 8).map((item) => {
      const at = structure(pointer(structure(item, 8), 0), PATTERN.size);
      return {
        pattern: textAt(pointer(at, PATTERN.expr)) ?? "",
        inverted: (at.getUint32(PATTERN.inverted, true) & 1) === 1,
        ...given("message", textAt(pointer(at, PATTERN.emsg))),
      };
    });
    if (patterns.length > 0) type.patterns = patterns;
  }
  if (base === "enumeration")
    type.enums = sizedArray(pointer(structure(address, TYPE.numSize), TYPE.enums), ENUM.size).map((item) => {
      const at = structure(item, ENUM.size);
      return {
        name: textAt(pointer(at, ENUM.name)) ?? "",
        ...given("description", textAt(pointer(at, ENUM.dsc))),
      };
    });
  if (base === "union")
    type.union = sizedArray(pointer(structure(address, TYPE.numSize), TYPE.unionTypes), 8).map((item) =>
      readType(pointer(structure(item, 8), 0)),
    );
  if (base === "leafref")
    type.path = libyang().lyxp_get_expr(pointer(structure(address, TYPE.numSize), TYPE.leafrefPath));
  return type;
}

function readRange(type: SchemaType, kind: "ranges" | "lengths", view: DataView, unsigned: boolean): void {
  const range = pointer(view, TYPE.range);
  if (range === 0) return;
  const at = structure(range, RANGE.size);
  Object.assign(type, given("message", textAt(pointer(at, RANGE.emsg))));
  type[kind] = sizedArray(pointer(at, RANGE.parts), RANGE.partSize).map((part) => {
    const bounds = structure(part, RANGE.partSize);
    const number = (offset: number) =>
      Number(unsigned ? bounds.getBigUint64(offset, true) : bounds.getBigInt64(offset, true));
    return [number(0), number(8)];
  });
}

/** Is one of a node's extensions nacm:default-deny-all? */
function hasDenyAll(extensions: Address): boolean {
  return sizedArray(extensions, EXTENSION.instanceSize).some((instance) => {
    const definition = pointer(structure(instance, EXTENSION.instanceSize), EXTENSION.def);
    return textAt(pointer(structure(definition, EXTENSION.size), EXTENSION.name)) === "default-deny-all";
  });
}
