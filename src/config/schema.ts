// The model of a node: yang/vita-gateway.yang and what it imports, compiled by libyang, and its nodes as plain objects for
// everybody who asks what may stand where: data paths, problems, documentation, OpenAPI, completion.

import { fileURLToPath } from "node:url";
import {
  type Address,
  type BaseType,
  LY_CTX_DISABLE_SEARCHDIR_CWD,
  LY_CTX_SET_PRIV_PARSED,
  LY_LOSTORE,
  libyang,
} from "../native/libyang.js";
import { readModule } from "./schema-reader.js";
import { takeErrors } from "./yang-errors.js";

/** The model's module: top-level names without a prefix are its. */
export const MODULE_NAME = "vita-gateway";

/** Modules of which a node tells data beside its own. */
const otherModules = ["ietf-restconf-monitoring"];

/** yang/, seen from dist/src/config/. */
const yangFolder = fileURLToPath(new URL("../../../yang", import.meta.url));

export interface SchemaModule {
  name: string;
  namespace: string;
  revision: string | undefined;
  prefix: string;
  description: string | undefined;
  /** Is it more than the types that other modules take from it? */
  implemented: boolean;
  data: SchemaNode[];
  rpcs: SchemaNode[];
  notifications: SchemaNode[];
}

export interface SchemaType {
  base: BaseType;
  /** Its name in the model, where it has another one than `base`. */
  typedef?: string;
  /** Of numbers. */
  ranges?: [min: number, max: number][];
  /** Of strings. */
  lengths?: [min: number, max: number][];
  /** `error-message` of the range or length. */
  message?: string;
  patterns?: { pattern: string; inverted: boolean; message?: string }[];
  enums?: { name: string; description?: string }[];
  union?: SchemaType[];
  /** Of a leafref. */
  path?: string;
}

export interface SchemaNode {
  name: string;
  module: string;
  kind:
    | "container"
    | "leaf"
    | "leaf-list"
    | "list"
    | "choice"
    | "case"
    | "anydata"
    | "rpc"
    | "action"
    | "notification"
    | "input"
    | "output";
  config: boolean;
  mandatory: boolean;
  presence: boolean;
  description?: string;
  reference?: string;
  units?: string;
  default?: string[];
  keys: string[];
  orderedByUser: boolean;
  minElements: number;
  maxElements?: number;
  /** Names of leaves that together must be unique in the list; several in one are separated by blanks. */
  unique: string[];
  /** nacm:default-deny-all: a secret. */
  denyAll: boolean;
  type?: SchemaType;
  must: { condition: string; message?: string }[];
  when?: string;
  children: SchemaNode[];
  parent?: SchemaNode;
  /** `/vita-gateway:route/gateway/ip`. */
  path: string;
}

let loaded: Schema | undefined;

export class Schema {
  /** libyang's context, and the module in it. */
  readonly context: Address;
  readonly module: Address;
  readonly modules: readonly SchemaModule[];
  readonly #byPath = new Map<string, SchemaNode>();
  readonly #byAddress = new Map<Address, SchemaNode>();

  /** The model; one for the process, which is freed with it. @throws Error when libyang or the model cannot be had */
  static load(): Schema {
    loaded ??= new Schema();
    return loaded;
  }

  private constructor() {
    const yang = libyang();
    yang.ly_log_options(LY_LOSTORE);
    const context: [Address] = [0];
    const failed = yang.ly_ctx_new(
      `${yangFolder}:${yangFolder}/ietf`,
      LY_CTX_DISABLE_SEARCHDIR_CWD | LY_CTX_SET_PRIV_PARSED,
      context,
    );
    if (failed) throw new Error(`libyang cannot read ${yangFolder} (error ${failed})`);
    this.context = context[0];
    this.module = yang.ly_ctx_load_module(this.context, MODULE_NAME, null, null);
    if (this.module === 0)
      throw new Error(`libyang cannot load ${MODULE_NAME}.yang: ${firstMessage(this.context)}`);
    for (const name of otherModules) {
      if (yang.ly_ctx_load_module(this.context, name, null, null) === 0)
        throw new Error(`libyang cannot load ${name}.yang: ${firstMessage(this.context)}`);
    }
    const modules: SchemaModule[] = [];
    const index: [number] = [0];
    for (;;) {
      const module = yang.ly_ctx_get_module_iter(this.context, index);
      if (module === 0) break;
      modules.push(
        readModule(module, this.context, (node, address) => {
          this.#byPath.set(node.path, node);
          this.#byAddress.set(address, node);
        }),
      );
    }
    this.modules = modules;
  }

  /** The node at a schema path such as `/vita-gateway:route/gateway/ip`. */
  node(schemaPath: string): SchemaNode | undefined {
    return this.#byPath.get(schemaPath);
  }

  /** The configuration's node that names lead to. */
  find(names: readonly string[]): SchemaNode | undefined {
    let node: SchemaNode | undefined;
    for (const name of names) {
      node = node ? node.children.find((child) => child.name === name) : this.top.get(name);
      if (!node) return undefined;
    }
    return node;
  }

  /** The node that libyang has at an address. */
  nodeAt(address: Address): SchemaNode | undefined {
    return this.#byAddress.get(address);
  }

  /** What may stand at the top of a configuration, by name. */
  get top(): ReadonlyMap<string, SchemaNode> {
    this.#top ??= new Map(
      this.modules
        .find(({ name }) => name === MODULE_NAME)
        ?.data.filter(({ config }) => config)
        .map((node) => [node.name, node]),
    );
    return this.#top;
  }
  #top: ReadonlyMap<string, SchemaNode> | undefined;
}

function firstMessage(context: Address): string {
  return takeErrors(context)[0]?.message ?? "unknown error";
}
