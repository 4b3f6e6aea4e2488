// A region: memory that is mapped once and seen through three views, so that headers can be read in network order
// (`view`), bytes be copied (`bytes`) and aligned words be read as the machine stores them (`words`). Everything that
// foreign code or another process touches lives in a region.
//
// Foreign code wants 64-bit addresses. The data path writes them as two 32-bit halves: `addressLow + offset` and
// `addressHigh`. That is right because no region crosses a 4 GiB boundary; `mapRegion` sees to it.

import { closeSync, constants, fstatSync, ftruncateSync, openSync } from "node:fs";
import {
  errno,
  errorName,
  MADV_COLLAPSE,
  MADV_DONTDUMP,
  MADV_HUGEPAGE,
  MADV_POPULATE_WRITE,
  MAP_FIXED,
  MAP_PRIVATE_ANONYMOUS,
  MAP_SHARED,
  madvise,
  mmap,
  mmapLow,
  munmap,
  PROT_READ_WRITE,
  window,
} from "../native/libc.js";

const PAGE = 4096;
const PROT_NONE = 0;
const PROT_READ = 1;
/** Bytes of the kernel's huge pages. */
export const HUGE_PAGE = 2 << 20;
/** Bytes of a region that is put below 2^31. */
const LARGEST_LOW = 64 << 20;

export class Region {
  readonly address: bigint;
  readonly size: number;
  /** Address as a number: user space addresses fit into 48 bits. */
  readonly addressNumber: number;
  readonly addressLow: number;
  readonly addressHigh: number;
  readonly view: DataView;
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;

  constructor(address: bigint, buffer: ArrayBuffer) {
    this.address = address;
    this.size = buffer.byteLength;
    this.addressNumber = Number(address);
    this.addressLow = Number(address & 0xffffffffn);
    this.addressHigh = Number(address >> 32n);
    this.view = new DataView(buffer);
    this.bytes = new Uint8Array(buffer);
    this.words = new Uint32Array(buffer);
  }

  /**
   * Puts the huge page around a byte offset into one piece, what was never touched of it included. Only advice: where the
   * kernel does not know how (before Linux 6.1) or has no huge page, the memory stays as it is.
   */
  collapse(offset: number): void {
    const start = offset & ~(HUGE_PAGE - 1);
    // A huge page of which nothing was ever touched is not put together.
    this.bytes[start] |= 0;
    if (start + HUGE_PAGE <= this.size) madvise(this.address + BigInt(start), HUGE_PAGE, MADV_COLLAPSE);
  }

  /**
   * Sees to it that there is memory for a part of the region. Touching a page of a shared file for which its file system has
   * none kills the process (SIGBUS), and every other one that maps the file.
   * @returns false when there is none; true also where the kernel cannot tell (before Linux 5.14)
   */
  populate(offset: number, length: number): boolean {
    const start = offset & ~(PAGE - 1);
    const end = Math.min(this.size, offset + length);
    if (end <= start) return true;
    if (madvise(this.address + BigInt(start), end - start, MADV_POPULATE_WRITE)) return true;
    return errorName(errno()) === "EINVAL";
  }

  /** Gives the memory back. Nothing may touch the region's views afterwards. */
  unmap(): void {
    munmap(this.address, this.size);
  }
}

/** Maps again while the mapping crosses a 4 GiB boundary; the ones that did are given back at the end. */
function mapRegion(size: number, map: () => bigint): Region {
  const rejected: bigint[] = [];
  try {
    for (;;) {
      const address = map();
      const low = Number(address & 0xffffffffn);
      if (low + size <= 0x1_0000_0000) return new Region(address, window(address, size));
      rejected.push(address);
    }
  } finally {
    for (const address of rejected) munmap(address, size);
  }
}

function wholePages(bytes: number): number {
  return Math.ceil(bytes / PAGE) * PAGE;
}

/**
 * Address space of `size` bytes, whole pages, that begins at a huge page; nothing is behind it. For what is not large it lies
 * below 2^31: instructions then have the address in them, where they would need a register, and another instruction that loads
 * it.
 */
function reserve(size: number): bigint {
  const whole =
    (size <= LARGEST_LOW ? mmapLow(size + HUGE_PAGE, PROT_NONE) : undefined) ??
    mmap(size + HUGE_PAGE, MAP_PRIVATE_ANONYMOUS, -1, 0, PROT_NONE);
  const skip = (HUGE_PAGE - Number(whole % BigInt(HUGE_PAGE))) % HUGE_PAGE;
  if (skip > 0) munmap(whole, skip);
  munmap(whole + BigInt(skip + size), HUGE_PAGE - skip);
  return whole + BigInt(skip);
}

/**
 * Zeroed memory of this process alone, on huge pages where the kernel has some.
 * @param size bytes, rounded up to whole huge pages; at most 2 GiB
 * @throws SystemError
 */
export function allocateRegion(size: number): Region {
  const rounded = Math.ceil(size / HUGE_PAGE) * HUGE_PAGE;
  const region = mapRegion(rounded, () => {
    const address = reserve(rounded);
    return mmap(rounded, MAP_PRIVATE_ANONYMOUS | MAP_FIXED, -1, 0, PROT_READ_WRITE, address);
  });
  madvise(region.address, rounded, MADV_HUGEPAGE);
  return region;
}

export type OpenMode = "create" | "write" | "read";

/**
 * Maps a file that several processes share. `create` makes a new empty file of `size` bytes with mode 0600 (one that
 * stands there is refused with EEXIST); the other modes take the file as it is.
 * @param annex bytes of this process's own memory behind the file's last page, at least
 * @throws the error of node:fs, or SystemError
 */
export function openSharedRegion(path: string, mode: OpenMode, size = 0, annex = 0): Region {
  const access = mode === "read" ? constants.O_RDONLY : constants.O_RDWR;
  const flags = mode === "create" ? access | constants.O_CREAT | constants.O_EXCL : access;
  const fd = openSync(path, flags | constants.O_NOFOLLOW, 0o600);
  try {
    if (mode === "create") ftruncateSync(fd, size);
    const length = fstatSync(fd).size;
    if (length === 0) throw new Error(`${path} is empty`);
    const protection = mode === "read" ? PROT_READ : PROT_READ_WRITE;
    // At a huge page's boundary, so that huge pages of the file can be mapped as such; whole pages, as the kernel maps them.
    const pages = wholePages(length);
    const behind = wholePages(annex);
    const region = mapRegion(behind === 0 ? length : pages + behind, () => {
      const address = reserve(pages + behind);
      if (behind > 0)
        mmap(behind, MAP_PRIVATE_ANONYMOUS | MAP_FIXED, -1, 0, PROT_READ_WRITE, address + BigInt(pages));
      return mmap(length, MAP_SHARED | MAP_FIXED, fd, 0, protection, address);
    });
    madvise(region.address, length, MADV_DONTDUMP);
    return region;
  } finally {
    closeSync(fd);
  }
}

/**
 * Takes the memory for the beginning of a new file, and gives all of it up when there is none.
 * @throws Error that says what to do
 */
export function populateNew(region: Region, path: string, length: number): void {
  if (region.populate(0, length)) return;
  region.unmap();
  throw new Error(`${path}: its file system has no room for it (see df ${path})`);
}
