// A request's XML as a tree of elements, and back. Well-formedness and namespaces are saxes' business; document types,
// and with them entities, are refused.

import { SaxesParser } from "saxes";
import { DEEPEST } from "../config/json-scan.js";
import { escapeXml } from "../config/xml.js";
import { malformed } from "./errors.js";

export interface XmlElement {
  /** Local name. */
  name: string;
  namespace: string;
  children: XmlElement[];
  /** Text of an element without children; blank otherwise. */
  text: string;
}

/** @throws RestconfError malformed-message */
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
