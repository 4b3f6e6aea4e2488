// Reads what `swanctl --raw --pretty` prints: vici messages as indented text.
//
//   list-sa event {
//     site {
//       uniqueid = 1
//       child-sas {
//         …
//       }
//       list = [
//         value
//       ]
//     }
//   }
//
// The program itself speaks vici directly; this is for tests and the demo, which look at charon from outside.

export type ViciValue = string | string[] | ViciSection;
export interface ViciSection {
  [key: string]: ViciValue;
}

/** Sections of every message, in order; `name` is e.g. `list-sa event`. */
export function parseViciText(text: string): { name: string; body: ViciSection }[] {
  const messages: { name: string; body: ViciSection }[] = [];
  const stack: ViciSection[] = [];
  let list: string[] | undefined;
  for (const raw of text.split("\n")) {
    const line = raw.trim();
    if (line === "") continue;
    const top = stack.at(-1);
    if (list) {
      if (line === "]") list = undefined;
      else list.push(line);
    } else if (line === "}") {
      stack.pop();
    } else if (line.endsWith("{")) {
      const name = line.slice(0, -1).trim();
      const body: ViciSection = {};
      if (top) top[name] = body;
      else messages.push({ name, body });
      stack.push(body);
    } else if (top) {
      const at = line.indexOf("=");
      if (at < 0) continue;
      const key = line.slice(0, at).trim();
      const value = line.slice(at + 1).trim();
      if (value === "[") {
        list = [];
        top[key] = list;
      } else {
        top[key] = value;
      }
    }
  }
  return messages;
}

/** A section inside a section; empty when it is not there. */
export function section(parent: ViciSection, name: string): ViciSection {
  const value = parent[name];
  return typeof value === "object" && !Array.isArray(value) ? value : {};
}

/** A text inside a section; empty when it is not there. */
export function text(parent: ViciSection, name: string): string {
  const value = parent[name];
  return typeof value === "string" ? value : "";
}
