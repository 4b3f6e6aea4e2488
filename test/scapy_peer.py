# The independent ESP implementation of the interoperability tests: scapy, driven over stdin and stdout. Each line is a
# JSON array of requests, answered by one line with an array of answers, or an object with "error". Bytes are hex.

import json
import logging
import sys

logging.getLogger("scapy").setLevel(logging.ERROR)

from scapy.all import raw  # noqa: E402
from scapy.layers.inet import *  # noqa: E402,F401,F403
from scapy.layers.inet6 import *  # noqa: E402,F401,F403
from scapy.layers.ipsec import ESP, SecurityAssociation, _ESPPlain  # noqa: E402
from scapy.layers.sctp import SCTP  # noqa: E402,F401
from scapy.packet import Padding, Raw  # noqa: E402,F401


def dissect(data):
    return (IP if data[0] >> 4 == 4 else IPv6)(data)


class ExtendedAuth:
    """An HMAC over ESP with extended sequence numbers (RFC 4303 2.2.1), which scapy knows for AH only."""

    def __init__(self, algorithm, high):
        self.algorithm = algorithm
        self.icv_size = algorithm.icv_size
        self.high = high.to_bytes(4, "big")

    def icv(self, data, key):
        mac = self.algorithm.new_mac(key)
        mac.update(data + self.high)
        return mac.finalize()[: self.icv_size]

    def sign(self, esp, key):
        esp.data += self.icv(raw(esp), key)

    def verify(self, esp, key):
        data = raw(esp)
        end = len(data) - self.icv_size
        if self.icv(data[:end], key) != data[end:]:
            raise ValueError("the ICV is wrong")


def association(sa, high):
    made = SecurityAssociation(
        ESP,
        spi=sa["spi"],
        crypt_algo=sa["cipher"],
        crypt_key=bytes.fromhex(sa["key"]),
        auth_algo=sa["auth"] or None,
        auth_key=bytes.fromhex(sa["authKey"]),
        tunnel_header=eval(sa["outer"]) if sa["outer"] else None,
        esn_en=sa["esn"],
    )
    if sa["auth"] and sa["esn"]:
        made.auth_algo = ExtendedAuth(made.auth_algo, high)
    return made


def icv_size(sa):
    return sa.crypt_algo.icv_size or sa.auth_algo.icv_size


def in_udp(whole, ports):
    """ESP in UDP (RFC 3948). scapy's own way gives the UDP header a wrong length over IPv4."""
    udp = UDP(sport=ports[0], dport=ports[1])
    esp = raw(whole.payload)
    outer = whole.copy()
    outer.remove_payload()
    if outer.version == 4:
        del outer.len, outer.chksum
        outer.proto = 17
        udp.chksum = 0
    else:
        del outer.plen
        outer.nh = 17
    return raw(outer / udp / Raw(esp))


def packet(request):
    return raw(eval(request["expression"]))


def encrypt(request):
    """The peer's outbound side, as scapy does it; with `trailer` the ESP trailer is the caller's."""
    seq = int(request["seq"])
    low, high = seq & 0xFFFFFFFF, seq >> 32
    sa = association(request["sa"], high)
    inner = bytes.fromhex(request["packet"])
    if "trailer" not in request:
        whole = sa.encrypt(dissect(inner), seq_num=low, esn=high)
        return in_udp(whole, request["sa"]["natt"]) if "natt" in request["sa"] else raw(whole)
    trailer = request["trailer"]
    esp = _ESPPlain(
        spi=sa.spi,
        seq=low,
        iv=sa.crypt_algo.generate_iv(),
        data=inner,
        padding=bytes.fromhex(trailer["padding"]),
        padlen=trailer["padLength"],
        nh=trailer["nextHeader"],
    )
    esp = sa.crypt_algo.encrypt(sa, esp, sa.crypt_key, esn_en=sa.esn_en, esn=high)
    sa.auth_algo.sign(esp, sa.auth_key)
    esp = raw(esp)
    header = sa.tunnel_header.copy()
    if header.version == 4:
        header.proto = 50
    else:
        header.nh = 50
    return raw(header / Raw(esp))


def without_udp(whole):
    """The packet as it would be without NAT traversal: scapy knows that only in tunnels."""
    esp = raw(whole[UDP].payload)
    whole[UDP].underlayer.remove_payload()
    if whole.version == 4:
        del whole.len, whole.chksum
        whole.proto = 50
    else:
        del whole.plen
        whole.nh = 50
    return dissect(raw(whole / Raw(esp)))


def plaintext(sa, esp, high):
    """All that is encrypted, padding and next header included."""
    algorithm = sa.crypt_algo
    iv = esp.data[: algorithm.iv_size]
    text = esp.data[algorithm.iv_size :]
    if not algorithm.is_aead:
        return algorithm.new_cipher(sa.crypt_key, iv).decryptor().update(text[: -icv_size(sa)])
    return algorithm.cipher(sa.crypt_key).decrypt(
        sa.crypt_salt + iv,
        text,
        esp.spi.to_bytes(4, "big")
        + (high.to_bytes(4, "big") if sa.esn_en else b"")
        + esp.seq.to_bytes(4, "big"),
    )


def decrypt(request):
    """The peer's inbound side. Padding, next header and sequence number are what scapy read."""
    high = int(request["high"])
    sa = association(request["sa"], high)
    data = bytes.fromhex(request["packet"])
    outer = dissect(data)
    esp = outer[ESP]
    plain = sa.crypt_algo.decrypt(sa, esp, sa.crypt_key, icv_size(sa), esn_en=sa.esn_en, esn=high)
    # scapy computes the padding from the data it has cut off already; read it from the end of the text instead.
    is_transport = not request["sa"]["outer"]
    whole = dissect(data)
    inner = sa.decrypt(without_udp(whole) if is_transport and UDP in whole else whole, esn=high)
    text = plaintext(sa, esp, high)
    return {
        "inner": raw(inner).hex(),
        "data": plain.data.hex(),
        "spi": esp.spi,
        "seq": esp.seq,
        "iv": esp.data[: sa.crypt_algo.iv_size].hex(),
        "nextHeader": plain.nh,
        "padLength": plain.padlen,
        "padding": text[len(text) - 2 - plain.padlen : len(text) - 2].hex(),
    }


def rebuild(request):
    """The packet with all lengths and checksums computed anew: equal to the original when they were right."""
    data = bytes.fromhex(request["packet"])
    whole = dissect(data)
    layer = whole
    while layer:
        for field in ("len", "chksum", "cksum", "plen"):
            if field in layer.fields:
                if isinstance(layer, UDP) and field == "chksum" and layer.chksum == 0 and request.get("zero"):
                    continue
                if type(layer).__name__ in ("IPerror", "IPerror6", "UDPerror", "TCPerror", "ICMPerror"):
                    continue
                layer.delfieldval(field)
        layer = layer.payload
    return raw(whole)


def show(request):
    """Fields of each layer, by name."""
    whole = dissect(bytes.fromhex(request["packet"]))
    layers = []
    layer = whole
    while layer:
        fields = {}
        for name in layer.fields_desc:
            value = layer.getfieldval(name.name)
            fields[name.name] = value if isinstance(value, (int, str)) else str(value)
        layers.append({"layer": type(layer).__name__, "fields": fields})
        layer = layer.payload
    return layers


def reassemble(request):
    whole = defragment([dissect(bytes.fromhex(fragment)) for fragment in request["packets"]])
    return [raw(part).hex() for part in whole]


operations = {
    "packet": packet,
    "encrypt": encrypt,
    "decrypt": decrypt,
    "rebuild": rebuild,
    "show": show,
    "reassemble": reassemble,
}


def answer(request):
    try:
        result = operations[request["operation"]](request)
        return result.hex() if isinstance(result, bytes) else result
    except Exception as error:
        return {"error": "%s: %s: %s" % (request["operation"], type(error).__name__, error)}


for line in sys.stdin:
    print(json.dumps([answer(request) for request in json.loads(line)]), flush=True)
