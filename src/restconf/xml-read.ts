// A request's XML as a tree of elements, and back. Well-formedness and namespaces are saxes' business; document types,
// and with them entities, are refused. So are attributes: what is done, the method says, and an attribute of NETCONF's that
// was passed over would have done something else (RFC 6241, section 7.2; RFC 8040, section 4.6.1).

import { SaxesParser, type SaxesTagNS } from "saxes";
import { DEEPEST } from "../config/json-scan.js";
import { escapeXml } from "../config/xml.js";
import { failure, malformed } from "./errors.js";

const NETCONF = "urn:ietf:params:xml:ns:netconf:base:1.0";

export interface XmlElement {
  /** Local name. */
  name: string;
  namespace: string;
  children: XmlElement[];
  /** Text of an element without children; blank otherwise. */
  text: string;
}

/** @throws RestconfError malformed-message or unknown-attribute */
export function parseXml(text: string): XmlElement {
  if (text.trim() === "") throw malformed("the message has no body");
  const parser = new SaxesParser({ xmlns: true });
  const open: XmlElement[] = [];
  let root: XmlElement | undefined;
  parser.on("error", (error) => {
    // The parser's messages quote names, never text.
    throw malformed(`the message is not XML: ${error.message}`);
  });
  parser.on("doctype", () => {
    throw malformed("the message has a document type, which is not allowed");
  });
  parser.on("opentag", (tag) => {
    refuseAttributes(tag);
    const element: XmlElement = { name: tag.local, namespace: tag.uri, children: [], text: "" };
    open.at(-1)?.children.push(element);
    root ??= element;
    open.push(element);
    if (open.length > DEEPEST) throw malformed(`the message is nested deeper than ${DEEPEST} levels`);
  });
  const onText = (part: string) => {
    const element = open.at(-1);
    if (element) element.text += part;
  };
  parser.on("text", onText);
  parser.on("cdata", onText);
  parser.on("closetag", () => {
    const element = open.pop();
    if (element && element.children.length > 0 && element.text.trim() !== "") {
      throw malformed(`the message has text beside the elements of <${element.name}>`);
    }
  });
  parser.write(text).close();
  if (!root) throw malformed("the message has no element");
  return root;
}

/** But for those that declare namespaces. */
function refuseAttributes({ name, attributes }: SaxesTagNS): void {
  for (const attribute of Object.values(attributes)) {
    if (attribute.prefix === "xmlns" || attribute.name === "xmlns") continue;
    const { uri, local } = attribute;
    const why =
      uri === NETCONF && local === "operation"
        ? "is NETCONF's: here the method says what is done, and several things are done in one request by YANG Patch (RFC 8072)"
        : "is not known, and would have no effect";
    throw failure(
      "unknown-attribute",
      `attribute "${attribute.name.slice(0, 64)}" of <${name.slice(0, 64)}> ${why}`,
    );
  }
}

export function childOf(element: XmlElement, name: string): XmlElement | undefined {
  return element.children.find((child) => child.name === name);
}

/** The element as text, every namespace declared where it begins. */
export function printXml(element: XmlElement, outer = ""): string {
  const open =
    element.namespace === outer ? element.name : `${element.name} xmlns="${escapeXml(element.namespace)}"`;
  if (element.children.length > 0) {
    const inner = element.children.map((child) => printXml(child, element.namespace)).join("");
    return `<${open}>${inner}</${element.name}>`;
  }
  return `<${open}>${escapeXml(element.text)}</${element.name}>`;
}
