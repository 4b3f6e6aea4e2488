// Text in XML (XML 1.0, sections 2.4 and 2.11).

const entities: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "\r": "&#13;",
};

/** For elements, and for attributes in double quotes. */
export function escapeXml(text: string): string {
  return text.replace(/[&<>"\r]/g, (c) => entities[c] as string);
}
