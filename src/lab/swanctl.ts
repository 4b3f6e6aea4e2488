// swanctl.conf from its parts: connections between two ends that know each other by a pre-shared key, with any number of
// children. What a test wants besides it says in lines of its own.

/** What an end says of itself, or the other end expects of it. */
export interface SwanctlEnd {
  /** An address, or `%any`. */
  address: string;
  id: string;
}

export interface SwanctlConnection {
  name: string;
  local: SwanctlEnd;
  remote: SwanctlEnd;
  /** Of IKE. */
  proposals: string;
  /** Further lines of the connection. */
  lines?: readonly string[];
  /** Lines of each child, by its name. */
  children: Readonly<Record<string, readonly string[]>>;
}

function section(name: string, lines: readonly string[]): string[] {
  return [`${name} {`, ...lines.map((line) => `  ${line}`), "}"];
}

/** The section of one connection, for `connections { }`. */
export function connectionSection(connection: SwanctlConnection): string {
  const { name, local, remote, proposals, lines = [], children } = connection;
  const parts = [
    "version = 2",
    `local_addrs = ${local.address}`,
    `remote_addrs = ${remote.address}`,
    `proposals = ${proposals}`,
    ...lines,
    ...section("local", ["auth = psk", `id = ${local.id}`]),
    ...section("remote", ["auth = psk", `id = ${remote.id}`]),
    ...section(
      "children",
      Object.entries(children).flatMap(([child, its]) => section(child, its)),
    ),
  ];
  return section(name, parts).join("\n");
}

/**
 * A whole swanctl.conf.
 * @param connections sections of connections and of shunts
 * @param secret of whoever connects
 * @param ids whom the secret is for; everybody when left out
 */
export function swanctlFile(
  connections: readonly string[],
  secret: string,
  ids: readonly string[] = [],
): string {
  const names = ids.map((id, i) => `id-${i + 1} = ${id}`);
  return [
    ...section("connections", connections.join("\n").split("\n")),
    ...section("secrets", section("ike-all", [...names, `secret = "${secret}"`])),
    "",
  ].join("\n");
}
