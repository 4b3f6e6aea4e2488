// Changes inside of one part of a tree, with libyang's own functions: a copy of the part that nobody else has.

import { type Address, libyang } from "../native/libyang.js";
import { type DataPath, formatSteps, operatorPath, parsePath, type Step } from "./data-path.js";
import { parseJson } from "./document.js";
import type { Edit } from "./edit.js";
import { placed, withOwnKeys } from "./placed.js";
import { ConfigurationError, type Rule } from "./problem.js";
import type { Schema, SchemaNode } from "./schema.js";
import { shapeProblem } from "./shape.js";
import {
  check,
  childOf,
  findData,
  freeSiblings,
  freeTree,
  isDefault,
  makeData,
  nextOf,
  parseData,
  pathOf,
  schemaOf,
  selectData,
  siblingsOf,
  YangFailure,
} from "./yang-data.js";
import { problemOf } from "./yang-problems.js";

const fail = (path: string, rule: Rule, message: string) =>
  new ConfigurationError("", [{ path: operatorPath(path), rule, message }]);

export class Scope {
  readonly #schema: Schema;
  /** The first node of the part. */
  first: Address;

  constructor(schema: Schema, first: Address) {
    this.#schema = schema;
    this.first = first;
  }

  /** @throws ConfigurationError; the part may have changed then */
  edit(edit: Edit, path: DataPath): void {
    const { operation } = edit;
    if (operation === "delete" || operation === "remove") this.#remove(path, operation === "delete");
    else if (operation === "move") this.#move(path, edit);
    else if (operation === "add") this.#add(path, edit);
    else this.#set(path, edit);
  }

  /** Nodes that are there at a path and were given, not completed. */
  #given({ text }: DataPath): Address[] {
    if (this.first === 0) return [];
    return selectData(this.#schema, this.first, text).filter((node) => !isDefault(node));
  }

  #free(node: Address): void {
    if (node === this.first) this.first = nextOf(node);
    freeTree(node);
  }

  #remove(path: DataPath, mustBeThere: boolean): void {
    this.#refuseKey(path);
    const nodes = this.#given(path);
    if (nodes.length === 0 && mustBeThere) throw fail(path.text, "data-missing", "is not there");
    for (const node of nodes) this.#free(node);
  }

  #refuseKey({ steps, text }: DataPath): void {
    const { node } = steps[steps.length - 1];
    if (node.parent?.keys.includes(node.name))
      throw fail(text, "operation-not-supported", "is the key of its entry, and cannot be changed by itself");
  }

  /** What is on the way to a path, and is not there by itself, must be there. */
  #needAncestors(steps: readonly Step[]): void {
    steps.forEach(({ node }, i) => {
      if (node.kind !== "list" && !node.presence) return;
      const text = formatSteps(steps.slice(0, i + 1));
      if (findData(this.#schema, this.first, text) === 0) throw fail(text, "data-missing", "is not there");
    });
  }

  #add(path: DataPath, edit: Edit): void {
    this.#needAncestors(path.steps);
    const source = this.#parse(edit, path.steps);
    try {
      const children = this.#below(source, path.steps);
      for (const child of children) this.#refuseExisting(pathOf(child));
      const paths = children.map(pathOf);
      this.merge(source);
      for (const added of paths) this.#place(added, edit);
    } finally {
      freeSiblings(source);
    }
  }

  /** Merges top-level nodes, which stay the caller's. @param mustBeNew they must not be there yet */
  mergeSiblings(source: Address, mustBeNew: boolean, edit: Edit): void {
    const paths = siblingsOf(source).map(pathOf);
    if (mustBeNew) for (const path of paths) this.#refuseExisting(path);
    this.merge(source);
    if (edit.where !== undefined) for (const path of paths) this.#place(path, edit);
  }

  #refuseExisting(path: string): void {
    const node = findData(this.#schema, this.first, path);
    if (node !== 0 && !isDefault(node)) throw fail(path, "data-exists", "is there already");
  }

  #set(path: DataPath, edit: Edit): void {
    const { operation } = edit;
    const parents = path.steps.slice(0, -1);
    const { node, keys } = path.steps[path.steps.length - 1];
    this.#refuseKey(path);
    if (operation !== "merge") this.#needAncestors(parents);
    const present = this.#given(path);
    if (operation === "create" && present.length > 0)
      throw fail(path.text, "data-exists", "is there already");
    const source = this.#parse(edit, parents, path.steps[path.steps.length - 1]);
    try {
      const given = this.#below(source, parents);
      const isTarget = given.every((child) => schemaOf(this.#schema, child) === node);
      const isEntry = keys.size === 0 || (given.length === 1 && this.#isAt(source, path, given[0]));
      if (!isTarget || !isEntry || (given.length === 0 && !isList(node)))
        throw fail(path.text, "malformed-message", `needs a document with ${node.name} alone`);
      // An entry keeps its place.
      const next = operation === "replace" && keys.size > 0 && present.length === 1 ? nextOf(present[0]) : 0;
      const follows = next !== 0 && node.orderedByUser && schemaOf(this.#schema, next) === node;
      if (operation === "replace") for (const old of this.#replaced(path)) this.#free(old);
      this.merge(source);
      if (follows) {
        const found = findData(this.#schema, this.first, path.text);
        check(this.#schema, libyang().lyd_insert_before(next, found), "lyd_insert_before");
        if (next === this.first) this.first = found;
      }
      if (edit.where !== undefined) this.#place(path.text, edit);
    } finally {
      freeSiblings(source);
    }
  }

  /** What a replacement takes the place of: also what is there by default. */
  #replaced({ text }: DataPath): Address[] {
    return this.first === 0 ? [] : selectData(this.#schema, this.first, text);
  }

  #isAt(source: Address, path: DataPath, node: Address): boolean {
    return findData(this.#schema, source, path.text) === node;
  }

  /** Merges a tree, which stays the caller's. */
  merge(source: Address): void {
    for (const node of siblingsOf(source)) this.#makeRoom(node);
    const target: [Address] = [this.first];
    check(this.#schema, libyang().lyd_merge_siblings(target, source, 0), "merging");
    this.first = libyang().lyd_first_sibling(target[0]);
  }

  /**
   * Frees containers that are there by default where something is to be merged into them: libyang would have them stay
   * what they are, and then neither print nor compare what has come into them.
   */
  #makeRoom(source: Address): void {
    const { kind } = schemaOf(this.#schema, source);
    if (isDefault(source) || (kind !== "container" && kind !== "list")) return;
    const present = findData(this.#schema, this.first, pathOf(source));
    if (present === 0) return;
    if (isDefault(present)) this.#free(present);
    else for (const child of siblingsOf(childOf(source))) this.#makeRoom(child);
  }

  #move(path: DataPath, edit: Edit): void {
    if (this.#given(path).length !== 1) throw fail(path.text, "data-missing", "is not there");
    if (edit.where === undefined) throw fail(path.text, "missing-element", "needs to be told where to");
    this.#place(path.text, edit);
  }

  /** Moves an entry to where an edit says. */
  #place(text: string, { where, point }: Edit): void {
    if (where === undefined) return;
    const schema = this.#schema;
    const node = findData(schema, this.first, text);
    const ofNode = schemaOf(schema, node);
    if (!ofNode.orderedByUser)
      throw fail(text, "operation-not-supported", "is in a list without an order of its own");
    const yang = libyang();
    const others = selectData(schema, this.first, text.replace(/\[[^[]*\]$/, "")).filter(
      (other) => other !== node,
    );
    if (where === "first" || where === "last") {
      if (others.length === 0) return;
      const code =
        where === "first"
          ? yang.lyd_insert_before(others[0], node)
          : yang.lyd_insert_after(others[others.length - 1], node);
      check(schema, code, "moving");
    } else {
      const at = point === undefined ? 0 : findData(schema, this.first, parsePath(schema, point).text);
      if (at === 0 || schemaOf(schema, at) !== ofNode)
        throw fail(
          point ?? text,
          "bad-element",
          "is no entry of the list in which something is to be placed",
        );
      if (at === node) return;
      check(
        schema,
        where === "before" ? yang.lyd_insert_before(at, node) : yang.lyd_insert_after(at, node),
        "moving",
      );
    }
    this.first = yang.lyd_first_sibling(this.first);
  }

  /**
   * Parses an edit's value into a tree of its own, from the top.
   * @param parents of what the value holds
   * @param target when the value is this itself: its keys may be left out
   */
  #parse({ value, target, operation }: Edit, parents: readonly Step[], own?: Step): Address {
    if (!value) throw fail(target, "missing-element", `needs a value to ${operation}`);
    const schema = this.#schema;
    if (value.format === "xml") return this.#parseXml(value.text, parents);
    const document = placed(withOwnKeys(parseJson(value.text, ""), own), parents);
    try {
      return parseData(schema, JSON.stringify(document), "json");
    } catch (error) {
      if (!(error instanceof YangFailure)) throw error;
      const shape = shapeProblem(document, [...schema.top.values()], "");
      throw new ConfigurationError("", [
        shape ?? problemOf(schema, error.errors[0] ?? { message: "" }, { document }),
      ]);
    }
  }

  #parseXml(text: string, parents: readonly Step[]): Address {
    const schema = this.#schema;
    let top = 0;
    try {
      if (parents.length === 0) return parseData(schema, text, "xml");
      const path = formatSteps(parents);
      top = makeData(schema, path);
      parseData(schema, text, "xml", findData(schema, top, path));
      return top;
    } catch (error) {
      if (top !== 0) freeSiblings(top);
      if (!(error instanceof YangFailure)) throw error;
      const problem = problemOf(schema, error.errors[0] ?? { message: "" }, {});
      // libyang leaves out the keys of the entries that it parses below.
      const bare = parents.map(({ node }) => `/${node.name}`).join("");
      const isBelow = problem.path === bare || problem.path.startsWith(`${bare}/`);
      const full = parents.length === 0 ? "" : operatorPath(formatSteps(parents));
      throw new ConfigurationError("", [
        isBelow ? { ...problem, path: full + problem.path.slice(bare.length) } : problem,
      ]);
    }
  }

  /** What a parsed value holds: the nodes below its parents, without these' keys. */
  #below(source: Address, parents: readonly Step[]): Address[] {
    const schema = this.#schema;
    if (parents.length === 0) return siblingsOf(source);
    const parent = findData(schema, source, formatSteps(parents));
    const { keys } = parents[parents.length - 1].node;
    return siblingsOf(childOf(parent)).filter((child) => {
      const { name, parent: of } = schemaOf(schema, child);
      return !isDefault(child) && !(of && keys.includes(name));
    });
  }
}

const isList = ({ kind }: SchemaNode) => kind === "list" || kind === "leaf-list";
