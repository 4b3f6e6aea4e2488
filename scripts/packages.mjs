// The one list of Debian packages that Vita, its demo, its tests and its benchmarks use.

export const debianPackages = [
  // strongSwan: the daemon, its command line, openssl (standard), kernel-libipsec (libcharon extra), curve25519 (extra),
  // eap-mschapv2 (extauth)
  "charon-systemd",
  "strongswan-swanctl",
  "strongswan-libcharon",
  "libcharon-extra-plugins",
  "libcharon-extauth-plugins",
  "libstrongswan-standard-plugins",
  "libstrongswan-extra-plugins",
  // crypto of the data path; the header is read by a test that compares the job layout with it
  "libipsec-mb1",
  "libipsec-mb-dev",
  // the configuration's model, and its headers for a test that compares the structures with them
  "libyang2",
  "libyang2-dev",
  // the kernel-vita plugin is built on the machine, against the sources of the strongSwan that is installed
  "gcc",
  "libc6-dev",
  "dpkg-dev",
  // namespaces, links, traffic and captures of the demo and the tests
  "iproute2",
  "ethtool",
  "nftables",
  "procps",
  "iputils-ping",
  "fping",
  "iperf3",
  "tcpdump",
  "tshark",
  "python3-scapy",
  // the examples of docs/restconf.md, and certificates for tests
  "curl",
  "openssl",
  // a peer of the `tunnel` benchmark
  "wireguard-go",
  "wireguard-tools",
];
