// Messages of strongSwan's vici protocol (src/libcharon/plugins/vici/README.md in its source): a tree of sections, in which
// stand values, lists of values, and further sections. Values are bytes; charon writes text into nearly all of them.
//
//   SECTION_START name … SECTION_END | KEY_VALUE name value | LIST_START name (LIST_ITEM value)* LIST_END
//
// A name has a length of one byte before it, a value one of two bytes, big endian. Nothing here knows what a value means,
// and no error repeats one: it may be a secret.

export enum Element {
  sectionStart = 1,
  sectionEnd = 2,
  keyValue = 3,
  listStart = 4,
  listItem = 5,
  listEnd = 6,
}

/** Bytes of a packet, as charon has it (VICI_MESSAGE_SIZE_MAX). */
export const PACKET_MAX = 512 * 1024;
/** Sections in sections; charon's own messages go to four. */
const DEPTH_MAX = 16;
const NAME_MAX = 0xff;
const VALUE_MAX = 0xffff;

/** What is not a message, or cannot be one. */
export class ViciFormatError extends Error {
  override readonly name = "ViciFormatError";
}

export type ViciValue = string | Uint8Array;

/** A section to be sent, in the order of its names; what is undefined is left out. */
export interface ViciFields {
  readonly [name: string]: ViciValue | readonly ViciValue[] | ViciFields | undefined;
}

/** A section that was received. A value, a list and a section of one name do not get into each other's way. */
export class ViciSection {
  readonly values = new Map<string, Buffer>();
  readonly lists = new Map<string, Buffer[]>();
  readonly sections = new Map<string, ViciSection>();

  /** A value as text. */
  text(name: string): string | undefined {
    return this.values.get(name)?.toString("utf8");
  }

  /** A value as a number; undefined where there is none, or another thing. */
  number(name: string): number | undefined {
    const text = this.text(name);
    return text !== undefined && /^-?[0-9]+$/.test(text) ? Number(text) : undefined;
  }

  /** charon writes `yes`, or leaves the value out. */
  flag(name: string): boolean {
    return this.text(name) === "yes";
  }

  /** A list as texts, empty where there is none. */
  texts(name: string): string[] {
    return (this.lists.get(name) ?? []).map((item) => item.toString("utf8"));
  }

  /** A section, empty where there is none. */
  section(name: string): ViciSection {
    return this.sections.get(name) ?? new ViciSection();
  }
}

/** Texts up to this length are written character by character, which is faster than to call for it. */
const SHORT = 64;

/** One for all messages, written one after the other. Grows up to what a packet may have. */
class Writer {
  #buffer = Buffer.allocUnsafeSlow(4096);
  #length = 0;

  #room(bytes: number): number {
    const at = this.#length;
    const end = at + bytes;
    if (end > PACKET_MAX) throw new ViciFormatError(`a message has at most ${PACKET_MAX} bytes`);
    if (end > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(PACKET_MAX, Math.max(end, 2 * this.#buffer.length)));
      this.#buffer.copy(larger, 0, 0, at);
      this.#wipe();
      this.#buffer = larger;
    }
    this.#length = end;
    return at;
  }

  /** There may have been a secret. */
  #wipe(): void {
    this.#buffer.fill(0, 0, this.#length);
  }

  byte(value: number): void {
    const at = this.#room(1);
    this.#buffer[at] = value;
  }

  name(name: string): void {
    const length = Buffer.byteLength(name);
    if (length === 0 || length > NAME_MAX) {
      throw new ViciFormatError(`the name "${name.slice(0, 80)}" must have 1 to ${NAME_MAX} bytes`);
    }
    this.byte(length);
    this.#text(name, length);
  }

  value(name: string, value: ViciValue): void {
    const length = Buffer.byteLength(value);
    if (length > VALUE_MAX) {
      throw new ViciFormatError(
        `the value of "${name}" has ${length} bytes, but at most ${VALUE_MAX} can be sent`,
      );
    }
    this.byte(length >>> 8);
    this.byte(length & 0xff);
    if (typeof value === "string") this.#text(value, length);
    else this.#buffer.set(value, this.#room(length));
  }

  /** @param length in bytes */
  #text(text: string, length: number): void {
    const at = this.#room(length);
    if (length !== text.length || length > SHORT) this.#buffer.write(text, at);
    else for (let i = 0; i < length; i++) this.#buffer[at + i] = text.charCodeAt(i);
  }

  /** Has a message written, which is all that is kept of it. */
  message(write: () => void): Buffer {
    this.#length = 0;
    try {
      write();
      return Buffer.from(this.#buffer.subarray(0, this.#length));
    } finally {
      this.#wipe();
    }
  }
}

const writer = new Writer();

function isList(value: ViciValue | readonly ViciValue[] | ViciFields): value is readonly ViciValue[] {
  return Array.isArray(value);
}

function write(fields: ViciFields, depth: number): void {
  if (depth > DEPTH_MAX) throw new ViciFormatError(`more than ${DEPTH_MAX} sections in each other`);
  for (const [name, field] of Object.entries(fields)) {
    if (field === undefined) continue;
    if (typeof field === "string" || field instanceof Uint8Array) {
      writer.byte(Element.keyValue);
      writer.name(name);
      writer.value(name, field);
    } else if (isList(field)) {
      writer.byte(Element.listStart);
      writer.name(name);
      for (const item of field) {
        writer.byte(Element.listItem);
        writer.value(name, item);
      }
      writer.byte(Element.listEnd);
    } else {
      writer.byte(Element.sectionStart);
      writer.name(name);
      write(field, depth + 1);
      writer.byte(Element.sectionEnd);
    }
  }
}

/**
 * Bytes of a message.
 * @throws ViciFormatError when a name, a value or the whole is too long
 */
export function encodeMessage(fields: ViciFields): Buffer {
  return writer.message(() => write(fields, 0));
}

/** Reads a message from its beginning to its end. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  #take(length: number): Buffer {
    const from = this.#at;
    if (length > this.#bytes.length - from) {
      throw new ViciFormatError(`the message ends in the middle, at byte ${this.#bytes.length}`);
    }
    this.#at += length;
    return this.#bytes.subarray(from, this.#at);
  }

  byte(): number {
    return this.#take(1)[0];
  }

  name(): string {
    const bytes = this.#take(this.byte());
    if (bytes.some((byte) => byte < 0x20 || byte > 0x7e)) {
      throw new ViciFormatError("a name in the message is not printable ASCII");
    }
    return bytes.toString("latin1");
  }

  value(): Buffer {
    return this.#take(this.#take(2).readUInt16BE());
  }
}

function readList(reader: Reader): Buffer[] {
  const items: Buffer[] = [];
  for (;;) {
    const type = reader.byte();
    if (type === Element.listEnd) return items;
    if (type !== Element.listItem) throw new ViciFormatError(`element ${type} stands in a list`);
    items.push(reader.value());
  }
}

/** Reads up to the end of a section; the outermost one (depth 0) ends with the message. */
function readSection(reader: Reader, depth: number): ViciSection {
  if (depth > DEPTH_MAX) throw new ViciFormatError(`more than ${DEPTH_MAX} sections in each other`);
  const section = new ViciSection();
  while (depth > 0 || !reader.done) {
    const type = reader.byte();
    if (type === Element.keyValue) {
      const name = reader.name();
      section.values.set(name, reader.value());
    } else if (type === Element.listStart) {
      const name = reader.name();
      section.lists.set(name, readList(reader));
    } else if (type === Element.sectionStart) {
      const name = reader.name();
      section.sections.set(name, readSection(reader, depth + 1));
    } else if (type === Element.sectionEnd && depth > 0) {
      return section;
    } else {
      throw new ViciFormatError(`element ${type} stands where none can`);
    }
  }
  return section;
}

/**
 * The message in `bytes`; its values are views of them.
 * @throws ViciFormatError when it is none
 */
export function decodeMessage(bytes: Buffer): ViciSection {
  return readSection(new Reader(bytes), 0);
}
