// A configuration without what nobody needs to know who only looks at it: it is written to the run directory for workers and
// for `vita state`.

import type { Configuration, Connection, InboundSa, Secret, StaticSa } from "./configuration.js";

type Key = "key" | "salt" | "integrity-key";

/** The nodes that the model has nacm:default-deny-all on are not there; a test compares. */
export type PublicConfiguration = Omit<
  Configuration,
  "inbound-sa" | "outbound-sa" | "connection" | "secret"
> & {
  "inbound-sa": Omit<InboundSa, Key>[];
  "outbound-sa": Omit<StaticSa, Key>[];
  connection: Omit<Connection, "pre-shared-key">[];
  secret: Omit<Secret, "data">[];
};

export function withoutSecrets(configuration: Configuration): PublicConfiguration {
  const withoutKeys = <Sa extends StaticSa>({ key, salt, "integrity-key": integrityKey, ...rest }: Sa) =>
    rest;
  return {
    ...configuration,
    "inbound-sa": configuration["inbound-sa"].map(withoutKeys),
    "outbound-sa": configuration["outbound-sa"].map(withoutKeys),
    connection: configuration.connection.map(({ "pre-shared-key": secret, ...rest }) => rest),
    secret: configuration.secret.map(({ data, ...rest }) => rest),
  };
}
