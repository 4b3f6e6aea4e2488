// Names of IKEv2 encryption transforms (RFC 7296 §3.3.2, IANA), for messages to people.

const names: Record<number, string> = {
  3: "3DES-CBC",
  7: "Blowfish-CBC",
  11: "NULL encryption",
  12: "AES-CBC",
  13: "AES-CTR",
  14: "AES-CCM with an 8-byte ICV",
  15: "AES-CCM with a 12-byte ICV",
  16: "AES-CCM with a 16-byte ICV",
  18: "AES-GCM with an 8-byte ICV",
  19: "AES-GCM with a 12-byte ICV",
  20: "AES-GCM with a 16-byte ICV",
  21: "AES-GMAC",
  23: "Camellia-CBC",
  28: "ChaCha20-Poly1305",
};

/** What an encryption transform is called. */
export function encryptionName(transform: number): string {
  return names[transform] ?? `encryption transform ${transform}`;
}
