// JSON as RFC 7951 has it, written as XML as RFC 7950 has it. A name's module gives its namespace; arrays become
// elements of one name, `[null]` an empty element. In XML the prefixes in values are declared: those of identities, and
// those of instance-identifiers, of which `error-path` is the only one.

import { escapeXml } from "../config/xml.js";
import { IKELESS, ikelessNamespace } from "./i2nsf/model.js";
import type { Json } from "./json.js";

/** Namespace of a module's name; undefined when it is not known. */
export type Namespaces = (module: string) => string | undefined;

const protocolNamespaces: Record<string, string> = {
  [IKELESS]: ikelessNamespace,
  "ietf-restconf": "urn:ietf:params:xml:ns:yang:ietf-restconf",
  "ietf-restconf-monitoring": "urn:ietf:params:xml:ns:yang:ietf-restconf-monitoring",
  "ietf-yang-patch": "urn:ietf:params:xml:ns:yang:ietf-yang-patch",
  // The notification message of RFC 5277, which RFC 8040, section 6.4, takes over.
  notification: "urn:ietf:params:xml:ns:netconf:notification:1.0",
};

export function xmlWriter(namespaces: Namespaces): (document: { [name: string]: Json }) => string {
  const namespaceOf = (module: string) => protocolNamespaces[module] ?? namespaces(module) ?? `urn:${module}`;

  const element = (qualified: string, value: Json, parentModule: string): string => {
    const colon = qualified.indexOf(":");
    const module = colon < 0 ? parentModule : qualified.slice(0, colon);
    const name = qualified.slice(colon + 1);
    const open = module === parentModule ? name : `${name} xmlns="${escapeXml(namespaceOf(module))}"`;
    if (name === "error-path") return errorPath(open, String(value));
    if (value === null) return `<${open}/>`;
    if (typeof value !== "object") {
      return `<${open}${identityPrefix(value)}>${escapeXml(String(value))}</${name}>`;
    }
    if (Array.isArray(value)) return value.map((item) => element(qualified, item, parentModule)).join("");
    const inner = Object.entries(value).map(([child, content]) => element(child, content, module));
    return inner.length === 0 ? `<${open}/>` : `<${open}>${inner.join("")}</${name}>`;
  };

  /** A value that looks like an identity of a module that there is; should it be none, the declaration does no harm. */
  const identityPrefix = (value: Json): string => {
    const [, module] =
      (typeof value === "string" && /^([A-Za-z_][\w.-]*):[A-Za-z_][\w.-]*$/.exec(value)) || [];
    const namespace = module === undefined ? undefined : namespaces(module);
    return namespace === undefined ? "" : ` xmlns:${module}="${escapeXml(namespace)}"`;
  };

  const errorPath = (open: string, path: string): string => {
    const modules = new Set<string>();
    let module = "";
    const qualified = path.replace(
      /"[^"]*"|'[^']*'|[A-Za-z_][\w.-]*(?::[A-Za-z_][\w.-]*)?/g,
      (token: string) => {
        if (token.startsWith('"') || token.startsWith("'")) return token;
        const colon = token.indexOf(":");
        if (colon > 0) module = token.slice(0, colon);
        if (module === "") return token;
        modules.add(module);
        return `${module}:${token.slice(colon + 1)}`;
      },
    );
    const declared = [...modules].map((name) => ` xmlns:${name}="${escapeXml(namespaceOf(name))}"`);
    return `<${open}${declared.join("")}>${escapeXml(qualified)}</error-path>`;
  };

  return (document) =>
    Object.entries(document)
      .map(([name, value]) => element(name, value, ""))
      .join("");
}
