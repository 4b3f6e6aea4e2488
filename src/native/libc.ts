// libc, as far as Vita calls it. Thin and typed: no policy, no state. Every function that can fail comes in the form
// that its callers need: set-up calls throw a SystemError that names the call and errno; the calls of the data path
// (marked "data path") return what libc returned and leave errno to `errno()`, because they neither throw nor allocate.
//
// Pointers are bigints or typed arrays. A typed array handed over stays valid only during the call.

import { constants as os } from "node:os";
import koffi from "koffi";

const libc = koffi.load("libc.so.6");

export type Pointer = bigint | ArrayBufferView | null;

const names = new Map(
  Object.entries(os.errno)
    .filter(([name]) => name !== "EWOULDBLOCK" && name !== "EOPNOTSUPP")
    .map(([name, number]) => [number, name]),
);

/** errno of the last foreign call of this thread. Ask at once. */
export function errno(): number {
  return koffi.errno();
}

/** `ENOENT` for 2, and so on. */
export function errorName(number: number): string {
  return names.get(number) ?? `errno ${number}`;
}

const describe: (errno: number) => string = libc.func("const char *strerror(int errnum)");

/** A system call failed. `message` reads like `bind(eth0): EPERM, Operation not permitted`. */
export class SystemError extends Error {
  readonly errno: number;
  readonly code: string;
  constructor(call: string, errno: number) {
    super(`${call}: ${errorName(errno)}, ${describe(errno)}`);
    this.name = "SystemError";
    this.errno = errno;
    this.code = errorName(errno);
  }
}

/** Passes on a result that is not negative; throws the SystemError of `call` for one that is. */
export function check(result: number | bigint, call: string): number {
  if (result < 0) throw new SystemError(call, koffi.errno());
  return Number(result);
}

export const PROT_READ_WRITE = 3;
export const MAP_SHARED = 1;
export const MAP_FIXED = 0x10;
export const MAP_PRIVATE_ANONYMOUS = 0x22;
/** An address below 2^31, where there is room for some hundred megabytes. */
export const MAP_32BIT = 0x40;
export const MAP_POPULATE = 0x8000;
export const MADV_HUGEPAGE = 14;
export const MADV_DONTDUMP = 16;
/** Linux 5.14. */
export const MADV_POPULATE_WRITE = 23;
/** Linux 6.1. */
export const MADV_COLLAPSE = 25;

const c = {
  mmap: libc.func("uintptr_t mmap(uintptr_t addr, size_t len, int prot, int flags, int fd, int64_t offset)"),
  munmap: libc.func("int munmap(void *addr, size_t len)"),
  madvise: libc.func("int madvise(void *addr, size_t len, int advice)"),
  socket: libc.func("int socket(int domain, int type, int protocol)"),
  bind: libc.func("int bind(int fd, void *addr, uint32_t len)"),
  connect: libc.func("int connect(int fd, void *addr, uint32_t len)"),
  listen: libc.func("int listen(int fd, int backlog)"),
  accept4: libc.func("int accept4(int fd, void *addr, void *len, int flags)"),
  setsockopt: libc.func("int setsockopt(int fd, int level, int name, void *value, uint32_t len)"),
  getsockopt: libc.func("int getsockopt(int fd, int level, int name, void *value, void *len)"),
  if_nametoindex: libc.func("uint32_t if_nametoindex(const char *name)"),
  syscall: libc.func("int64_t syscall(int64_t number, int64_t a, void *b, uint64_t c)"),
  ioctl: libc.func("int ioctl(int fd, uint64_t request, void *argument)"),
  close: libc.func("int close(int fd)"),
  eventfd: libc.func("int eventfd(uint32_t initial, int flags)"),
  mkfifo: libc.func("int mkfifo(const char *path, uint32_t mode)"),
  flock: libc.func("int flock(int fd, int operation)"),
  open: libc.func("int open(const char *path, int flags, int mode)"),
};

/**
 * Maps `length` bytes and returns their address.
 * @param at where, with MAP_FIXED
 * @throws SystemError
 */
export function mmap(
  length: number,
  flags: number,
  fd = -1,
  offset = 0,
  prot = PROT_READ_WRITE,
  at = 0n,
): bigint {
  const address = BigInt(c.mmap(at, length, prot, flags, fd, offset));
  if (address === 0xffffffffffffffffn) throw new SystemError("mmap", koffi.errno());
  return address;
}

/**
 * Zeroed memory below 2^31.
 * @returns undefined when there is no room
 * @throws SystemError
 */
export function mmapLow(length: number, prot = PROT_READ_WRITE): bigint | undefined {
  try {
    return mmap(length, MAP_PRIVATE_ANONYMOUS | MAP_32BIT, -1, 0, prot);
  } catch (error) {
    if (error instanceof SystemError && error.code === "ENOMEM") return undefined;
    throw error;
  }
}

/** A window on mapped memory. It must not be touched once the memory is unmapped. */
export function window(address: bigint, length: number): ArrayBuffer {
  return koffi.view(address, length) as ArrayBuffer;
}

export function munmap(address: bigint, length: number): void {
  check(c.munmap(address, length), "munmap");
}

/** Advice is only advice: false when the kernel did not take it. */
export function madvise(address: bigint, length: number, advice: number): boolean {
  return c.madvise(address, length, advice) === 0;
}

export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_NETLINK = 16;
export const AF_PACKET = 17;
export const AF_XDP = 44;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_SEQPACKET = 5;
export const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
export const SOL_SOCKET = 1;
export const SO_PEERCRED = 17;
/** recv() returns the length of the whole datagram, also when it was cut to fit. */
export const MSG_TRUNC = 0x20;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const POLLIN = 1;
export const POLLOUT = 4;

export function socket(domain: number, type: number, protocol: number, what = "socket"): number {
  return check(c.socket(domain, type | SOCK_CLOEXEC, protocol), what);
}

export function bind(fd: number, address: ArrayBufferView, what = "bind"): void {
  check(c.bind(fd, address, address.byteLength), what);
}

export function connect(fd: number, address: ArrayBufferView, what = "connect"): void {
  check(c.connect(fd, address, address.byteLength), what);
}

export function listen(fd: number, backlog: number): void {
  check(c.listen(fd, backlog), "listen");
}

/** A non-blocking connection, or -1 with errno (EAGAIN when none waits). */
export function accept(fd: number): number {
  return c.accept4(fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

export function setsockopt(
  fd: number,
  level: number,
  name: number,
  value: ArrayBufferView,
  what = "setsockopt",
): void {
  check(c.setsockopt(fd, level, name, value, value.byteLength), what);
}

/** Fills `value` and returns the length that the kernel wrote. */
export function getsockopt(
  fd: number,
  level: number,
  name: number,
  value: ArrayBufferView,
  what = "getsockopt",
): number {
  const length = new Uint32Array([value.byteLength]);
  check(c.getsockopt(fd, level, name, value, length), what);
  return length[0];
}

/** @throws SystemError when no interface of this network namespace has the name. */
export function interfaceIndex(name: string): number {
  const index: number = c.if_nametoindex(name);
  if (index === 0) throw new SystemError(`interface ${name}`, koffi.errno());
  return index;
}

export function ioctl(fd: number, request: number, argument: Pointer, what: string): number {
  return check(c.ioctl(fd, request, argument), what);
}

export function open(path: string, flags: number, mode = 0): number {
  return check(c.open(path, flags | os_O_CLOEXEC, mode), `open ${path}`);
}
const os_O_CLOEXEC = 0o2000000;

export function close(fd: number): void {
  c.close(fd);
}

/** Locks an open file for this process until it ends or closes the descriptor. False when another process has the lock. */
export function tryLock(fd: number): boolean {
  const LOCK_EX_NB = 6;
  return c.flock(fd, LOCK_EX_NB) === 0;
}

/** The same, but waits while another process has the lock. */
export function waitForLock(fd: number, what: string): void {
  const LOCK_EX = 2;
  check(c.flock(fd, LOCK_EX), what);
}

/** Makes a named pipe. @throws SystemError EEXIST when something of that name is there */
export function mkfifo(path: string, mode: number): void {
  check(c.mkfifo(path, mode), `mkfifo ${path}`);
}

/** bpf(2): `attribute` is the union that the command wants. */
export function bpf(command: number, attribute: Uint8Array, what: string): number {
  const SYS_bpf = 321;
  return check(c.syscall(SYS_bpf, command, attribute, attribute.byteLength), what);
}

/** A descriptor that becomes readable when the process ends. @throws SystemError ESRCH when there is no such process */
export function pidfdOpen(pid: number): number {
  const SYS_pidfd_open = 434;
  return check(c.syscall(SYS_pidfd_open, pid, null, 0), `pidfd_open ${pid}`);
}

/** Has the process ended? A zombie has. */
export function hasEnded(pid: number): boolean {
  let fd: number;
  try {
    fd = pidfdOpen(pid);
  } catch {
    return true;
  }
  const ended = poll(Int32Array.of(fd, POLLIN), 1, 0) === 1;
  c.close(fd);
  return ended;
}

/** A descriptor of our own for what another process has open as `fd`. @throws SystemError */
export function pidfdGetfd(pidfd: number, fd: number, what: string): number {
  const SYS_pidfd_getfd = 438;
  return check(c.syscall(SYS_pidfd_getfd, pidfd, BigInt(fd), 0), what);
}

export function eventfd(): number {
  return check(c.eventfd(0, SOCK_NONBLOCK | SOCK_CLOEXEC), "eventfd");
}

// ---- data path: results as libc gives them -----------------------------------------------------------------------

/** ssize_t read(fd, buffer, bytes) — data path. */
export const read: (fd: number, buffer: Pointer, length: number) => number = libc.func(
  "int64_t read(int fd, void *buffer, size_t len)",
);
/** ssize_t write(fd, buffer, bytes) — data path. */
export const write: (fd: number, buffer: Pointer, length: number) => number = libc.func(
  "int64_t write(int fd, void *buffer, size_t len)",
);
/** ssize_t readv(…), `vectors` an array of struct iovec — data path. */
export const readv: (fd: number, vectors: Pointer, count: number) => number = libc.func(
  "int64_t readv(int fd, void *iov, int iovcnt)",
);
/** ssize_t writev(…), `vectors` an array of struct iovec — data path. */
export const writev: (fd: number, vectors: Pointer, count: number) => number = libc.func(
  "int64_t writev(int fd, void *iov, int iovcnt)",
);
/** ssize_t sendto(…) — data path. */
export const sendto: (
  fd: number,
  buffer: Pointer,
  length: number,
  flags: number,
  address: Pointer,
  addressLength: number,
) => number = libc.func(
  "int64_t sendto(int fd, void *buf, size_t len, int flags, void *addr, uint32_t addrlen)",
);
/** ssize_t recv(…) — data path. */
export const recv: (fd: number, buffer: Pointer, length: number, flags: number) => number = libc.func(
  "int64_t recv(int fd, void *buf, size_t len, int flags)",
);
/** int sendmmsg(…), `messages` an array of struct mmsghdr — data path. */
export const sendmmsg: (fd: number, messages: Pointer, count: number, flags: number) => number = libc.func(
  "int sendmmsg(int fd, void *msgvec, uint32_t vlen, int flags)",
);
/** int recvmmsg(…) without a time limit — data path. */
export const recvmmsg: (
  fd: number,
  messages: Pointer,
  count: number,
  flags: number,
  timeout: null,
) => number = libc.func("int recvmmsg(int fd, void *msgvec, uint32_t vlen, int flags, void *timeout)");
/** int poll(fds, count, milliseconds), `fds` an array of struct pollfd — data path. */
export const poll: (fds: Pointer, count: number, timeout: number) => number = libc.func(
  "int poll(void *fds, uint64_t nfds, int timeout)",
);
/** int ppoll(fds, count, struct timespec, no signal mask): poll with a time limit below one millisecond — data path. */
export const ppoll: (fds: Pointer, count: number, timespec: Pointer, mask: null) => number = libc.func(
  "int ppoll(void *fds, uint64_t nfds, void *timeout, void *mask)",
);
/** int clock_gettime(clock, struct timespec) — data path. */
export const clock_gettime: (clock: number, timespec: Pointer) => number = libc.func(
  "int clock_gettime(int clock, void *timespec)",
);
export const CLOCK_MONOTONIC = 1;

/**
 * poll() on a thread of libuv's pool, for code that lives in the event loop. `fds` must stay alive until the answer.
 * @returns what poll() returned.
 */
export function pollAsync(fds: Int32Array, count: number, timeout: number): Promise<number> {
  const call = poll as unknown as {
    async(
      fds: Pointer,
      count: number,
      timeout: number,
      done: (error: Error | null, result: number) => void,
    ): void;
  };
  return new Promise((resolve, reject) => {
    call.async(fds, count, timeout, (error, result) => (error ? reject(error) : resolve(result)));
  });
}
